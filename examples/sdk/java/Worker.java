// Workflows for the Java SDK: java -cp 'jars/*' Worker.java [ENDPOINT]
//
// ENDPOINT is where a Taskhub listens for workers: the argument, else $TASKHUB_RPC, else
// localhost:4001. This SDK cannot say what it serves: the worker is sent everything in the hub, so
// let it have the hub for itself.

import com.microsoft.durabletask.DurableTaskGrpcWorker;
import com.microsoft.durabletask.DurableTaskGrpcWorkerBuilder;
import com.microsoft.durabletask.Task;
import com.microsoft.durabletask.TaskActivity;
import com.microsoft.durabletask.TaskActivityFactory;
import com.microsoft.durabletask.TaskCanceledException;
import com.microsoft.durabletask.TaskOrchestration;
import com.microsoft.durabletask.TaskOrchestrationContext;
import com.microsoft.durabletask.TaskOrchestrationFactory;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

public class Worker {
    // Greets cities one after the other.
    static void helloCities(TaskOrchestrationContext context) {
        String[] cities = context.getInput(String[].class);
        if (cities == null) {
            cities = new String[] {"Tokyo", "Seattle", "London"};
        }
        List<String> greetings = new ArrayList<>();
        for (String city : cities) {
            greetings.add(context.callActivity("say_hello", city, String.class).await());
        }
        context.complete(greetings);
    }

    // Counts the words of many texts at the same time and adds the counts up.
    static void fanOut(TaskOrchestrationContext context) {
        // All of them are scheduled before the first result is awaited.
        List<Task<Integer>> counts = Stream.of(context.getInput(String[].class))
            .map(text -> context.callActivity("count_words", text, Integer.class))
            .collect(Collectors.toList());
        context.complete(context.allOf(counts).await().stream().mapToInt(n -> n).sum());
    }

    static class Request {
        public String what;
        public double seconds;
    }

    // Waits for a person, but not for ever: the event "decision", or the time-out.
    static void approval(TaskOrchestrationContext context) {
        Request request = context.getInput(Request.class);
        Duration timeout = Duration.ofMillis((long) (request.seconds * 1000));
        context.setCustomStatus("waiting for a decision");
        try {
            boolean approved =
                context.waitForExternalEvent("decision", timeout, Boolean.class).await();
            context.complete(approved ? "approved" : "refused");
        } catch (TaskCanceledException late) {
            context.complete("nobody answered");
        }
    }

    static TaskOrchestrationFactory orchestration(String name, TaskOrchestration body) {
        return new TaskOrchestrationFactory() {
            @Override
            public String getName() {
                return name;
            }

            @Override
            public TaskOrchestration create() {
                return body;
            }
        };
    }

    static TaskActivityFactory activity(String name, TaskActivity body) {
        return new TaskActivityFactory() {
            @Override
            public String getName() {
                return name;
            }

            @Override
            public TaskActivity create() {
                return body;
            }
        };
    }

    public static void main(String[] arguments) {
        String endpoint = arguments.length > 0 ? arguments[0]
            : System.getenv().getOrDefault("TASKHUB_RPC", "localhost:4001");
        ManagedChannel channel =
            Grpc.newChannelBuilder(endpoint, InsecureChannelCredentials.create()).build();
        DurableTaskGrpcWorker worker = new DurableTaskGrpcWorkerBuilder()
            .grpcChannel(channel)
            .addOrchestration(orchestration("hello_cities", Worker::helloCities))
            .addOrchestration(orchestration("fan_out", Worker::fanOut))
            .addOrchestration(orchestration("approval", Worker::approval))
            .addActivity(activity("say_hello",
                context -> "Hello " + context.getInput(String.class) + "!"))
            .addActivity(activity("count_words",
                context -> context.getInput(String.class).trim().split("\\s+").length))
            .build();
        System.out.println("serving " + endpoint);
        worker.startAndBlock();
    }
}
