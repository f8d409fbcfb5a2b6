// A client for the workflows of Worker.java, or for anything else in the hub:
//
//     java -cp 'jars/*' Client.java start NAME [INPUT [ID]]  starts an instance, prints its id
//     java -cp 'jars/*' Client.java wait ID                  waits, prints status and output
//     java -cp 'jars/*' Client.java raise ID EVENT [DATA]    raises an event
//
// INPUT and DATA are JSON. The endpoint is $TASKHUB_RPC, else localhost:4001.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.microsoft.durabletask.DurableTaskClient;
import com.microsoft.durabletask.DurableTaskGrpcClientBuilder;
import com.microsoft.durabletask.OrchestrationMetadata;
import com.microsoft.durabletask.OrchestrationRuntimeStatus;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import java.time.Duration;

public class Client {
    static final ObjectMapper json = new ObjectMapper();

    // The argument at this place as JSON; null if it was left out.
    static JsonNode value(String[] arguments, int at) throws Exception {
        return at < arguments.length ? json.readTree(arguments[at]) : null;
    }

    static void start(DurableTaskClient client, String[] a) throws Exception {
        System.out.println(client.scheduleNewOrchestrationInstance(
            a[1], value(a, 2), a.length > 3 ? a[3] : null));
    }

    static void await(DurableTaskClient client, String[] a) throws Exception {
        OrchestrationMetadata end =
            client.waitForInstanceCompletion(a[1], Duration.ofMinutes(1), true);
        ObjectNode said = json.createObjectNode().put("status", end.getRuntimeStatus().name());
        if (end.getRuntimeStatus() == OrchestrationRuntimeStatus.COMPLETED) {
            String output = end.getSerializedOutput();
            said.set("output", json.readTree(output == null ? "null" : output));
        } else {
            said.put("error", end.getFailureDetails().getErrorMessage());
        }
        System.out.println(json.writeValueAsString(said));
    }

    static void raise(DurableTaskClient client, String[] a) throws Exception {
        client.raiseEvent(a[1], a[2], value(a, 3));
    }

    public static void main(String[] arguments) throws Exception {
        String command = arguments.length > 1 ? arguments[0] : "";
        String endpoint = System.getenv().getOrDefault("TASKHUB_RPC", "localhost:4001");
        ManagedChannel channel =
            Grpc.newChannelBuilder(endpoint, InsecureChannelCredentials.create()).build();
        try (DurableTaskClient client =
                 new DurableTaskGrpcClientBuilder().grpcChannel(channel).build()) {
            switch (command) {
                case "start" -> start(client, arguments);
                case "wait" -> await(client, arguments);
                case "raise" -> raise(client, arguments);
                default -> System.err.println("usage: start | wait | raise, see Client.java");
            }
        } finally {
            channel.shutdownNow();
        }
    }
}
