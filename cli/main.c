/*
 * The `taskhub` program: a table of commands and the way into them.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cli/options.h"
#include "cli/remote.h"
#include "cli/run.h"
#include "worker/appmain.h"
#include "worker/appproc.h"

#define REMOTE "url key json timeout"
#define RUN    "hub partitions host_json activities log_level log_json "

static const struct cli_command commands[] = {
    {"dev", "[APP]", 0, 1, "run an application and its hub on this machine",
     "Loads APP (a shared object built against taskhub.h) and runs its functions on a hub kept in\n"
     "one SQLite file. Without APP, or with --rpc-port, programs with a Durable Task SDK (Python,\n"
     "JavaScript, .NET, Java, Go) run functions, too; they connect to localhost:4001 by themselves.\n"
     "Everything is in this one program: worker, hub, HTTP API. What was started goes on after a\n"
     "restart, also after kill -9 or a power cut. A crash in the application is contained: the\n"
     "process starts anew, and the activity or orchestration that crashes again and again fails\n"
     "with the reason. With --isolate the application has a process of its own, and hub and API go\n"
     "on while that one is started anew.",
     "  taskhub dev                                 # a hub for programs with an SDK\n"
     "  taskhub dev ./apps/hello-cities.so\n"
     "  taskhub dev ./apps/hello-cities.so --db /var/lib/orders.db --port 8080\n"
     "  taskhub dev ./app.so --replay-always        # find orchestrators that are not deterministic\n",
     RUN "db port rpc_port rpc_certificate rpc_key rpc_client_ca address key replay_always isolate "
         "no_supervisor episode_limit function_timeout drain",
     cli_dev},
    {"start", "ORCHESTRATOR", 1, 1, "start an instance of an orchestrator",
     "Prints the new instance's id once the start is durable. With --wait, waits for the end and\n"
     "prints the output instead; the exit code then tells how it ended.",
     "  taskhub start hello_cities\n"
     "  taskhub start order --input '{\"item\": \"book\"}' --id order-17\n"
     "  taskhub start report --input @july.json --wait --timeout 5m\n",
     "id input version wait " REMOTE, cli_start},
    {"status", "ID", 1, 1, "show an instance",
     "Name, state, times, input and output of one instance; with --history also its history.",
     "  taskhub status order-17\n"
     "  taskhub status order-17 --json | jq -r .runtimeStatus\n",
     "history " REMOTE, cli_status},
    {"wait", "ID", 1, 1, "wait until an instance has ended, and print its output",
     "Is told of the end by the hub, so it returns at once. Without --timeout it waits for ever.",
     "  taskhub wait order-17 --timeout 30s\n", REMOTE, cli_wait},
    {"raise-event", "ID EVENT", 2, 2, "send an event to an instance",
     "An orchestrator that waits for an event of this name goes on with --data; one that does not\n"
     "wait yet finds it later.",
     "  taskhub raise-event order-17 Approval --data true\n", "data " REMOTE, cli_raise_event},
    {"terminate", "ID", 1, 1, "end an instance now",
     "The instance ends as Terminated; --reason becomes its output. Activities that run are told.",
     "  taskhub terminate order-17 --reason 'customer left'\n", "reason " REMOTE, cli_terminate},
    {"suspend", "ID", 1, 1, "hold an instance until it is resumed",
     "Events and results that arrive meanwhile are kept.",
     "  taskhub suspend order-17 --reason 'check the address'\n", "reason " REMOTE, cli_suspend},
    {"resume", "ID", 1, 1, "let a suspended instance go on", "Continues where it was held.",
     "  taskhub resume order-17\n", "reason " REMOTE, cli_resume},
    {"rewind", "ID", 1, 1, "try a failed instance again from where it failed",
     "Drops the failures from the history and runs the failed steps again; what had succeeded is\n"
     "kept. The instance must have failed.",
     "  taskhub rewind order-17 --reason 'the printer has paper again'\n", "reason " REMOTE,
     cli_rewind},
    {"restart", "ID", 1, 1, "start an instance anew with the same input",
     "Prints the id: a new one, or the same with --same-id (the instance must have ended). After\n"
     "continue-as-new it is the last generation's input, as `status` shows it.",
     "  taskhub restart order-17\n"
     "  taskhub restart order-17 --same-id --wait\n",
     "same_id wait " REMOTE, cli_restart},
    {"purge", "[ID]", 0, 1, "remove ended instances for good",
     "One by its id, or all that match --created-from, --created-to and --status (--all: of any\n"
     "age). Instances that have not ended are left alone.",
     "  taskhub purge order-17\n"
     "  taskhub purge --created-to 2026-01-01T00:00:00Z --all --status Completed,Terminated\n",
     "from to status prefix all " REMOTE, cli_purge},
    {"list", "", 0, 0, "list instances, oldest first",
     "One line per instance; the filters can be combined.",
     "  taskhub list --status Running,Pending\n"
     "  taskhub list --prefix order- --created-from 2026-11-22 --json\n",
     "status prefix from to limit " REMOTE, cli_list},
    {"history", "ID", 1, 1, "show all that happened in an instance",
     "Every event as it is stored. The form of --json is what `taskhub replay` reads.",
     "  taskhub history order-17\n"
     "  taskhub history order-17 --json > order-17.json\n",
     REMOTE, cli_history},
    {"entity", "signal|read|list [@NAME@KEY [OPERATION]]", 1, 3, "signal and look at entities",
     "An entity is a small durable state with operations on it, known by its function's name and a\n"
     "key: @counter@apples. It need not be made; its first operation does. `signal` has an operation\n"
     "carried out, now or not before --at, and does not wait for it. `read` prints the state as JSON\n"
     "(exit code 3: it has none). `list` shows those that have one, of one function or of all,\n"
     "in the order in which they came into being. The signal `delete` removes a state, unless the\n"
     "entity means something else by it.",
     "  taskhub entity signal @counter@apples add --input 5\n"
     "  taskhub entity read @counter@apples\n"
     "  taskhub entity list counter --changed-from 2026-11-22 --json\n"
     "  taskhub entity signal @counter@apples reset --at 2026-12-31T00:00:00Z\n",
     "input at changed_from changed_to limit " REMOTE, cli_entity},
    {"hub", "create|list|delete|show [NAME]", 1, 2, "manage hubs",
     "A hub holds all that is durable of one application: instances, messages, timers. It is made\n"
     "by its first start and removed only by `hub delete`. `hub show` without a name shows the\n"
     "running hub: what waits, who owns what, how far behind it is. With --db the command works on\n"
     "the file itself, with --kafka on the topics of a cluster, while no process runs the hub.",
     "  taskhub hub show\n"
     "  taskhub hub list --db taskhub.db\n"
     "  taskhub hub create Orders --partitions 24 --kafka broker-1:9092\n"
     "  taskhub hub delete Orders --kafka broker-1:9092 --redis redis-1\n",
     "db kafka redis kafka_property partitions " REMOTE, cli_hub},
    {"lag", "", 0, 0, "show how far behind the work is",
     "Per partition of the inbox and of the activity topic: its end, how far it is processed, the\n"
     "messages between, how long the oldest of them waits, and who owns the partition. An idle hub\n"
     "shows 0 everywhere. Asks the hub's API, or with --kafka the brokers themselves.",
     "  taskhub lag\n"
     "  taskhub lag --watch\n"
     "  taskhub lag --kafka broker-1:9092 --hub Orders --json | jq .totals\n",
     "watch kafka kafka_property hub " REMOTE, cli_lag},
    {"doctor", "[INSTANCE]", 0, 1, "say whether a hub is well, from what is stored of it",
     "Reads the logs, inboxes, activities and heartbeats of a hub from the brokers, and its rows from\n"
     "Redis, without taking part in it, whether it runs or not. Says of each instance that has not\n"
     "ended what it waits for, or that it is stuck and why; whether the projection says what the log\n"
     "says; whether each message was consumed once; and what contradicts itself. With --db it reads a\n"
     "database that no process has open. What it finds on a hub that runs it looks at twice, a few\n"
     "seconds apart. Exit code 0: all is well, 8: it is not.",
     "  taskhub doctor --hub Orders --kafka broker-1:9092 --redis redis-1\n"
     "  taskhub doctor order-17\n"
     "  taskhub doctor --db taskhub.db\n"
     "  taskhub doctor --json | jq .findings\n",
     "kafka redis kafka_property hub db json", cli_doctor},
    {"invoke", "APP [FUNCTION]", 1, 2, "run one function of an application, once",
     "An activity runs alone with --input, and so does --operation of an entity, \"@name@key\", on\n"
     "--state. An orchestrator, or an HTTP function given by --route, runs on a hub of its own that\n"
     "is thrown away afterwards. Prints the result on standard output; log lines, duration, peak\n"
     "memory and what became of an entity on standard error.",
     "  taskhub invoke ./apps/hello-cities.so say_hello --input '\"Tokyo\"'\n"
     "  taskhub invoke ./apps/hello-cities.so hello_cities\n"
     "  taskhub invoke ./apps/counter.so @counter@k --operation add --input 5 --state 37\n"
     "  taskhub invoke ./app.so --route orchestrators/hello_cities --method POST\n",
     "input operation state route method json timeout activities log_level", cli_invoke},
    {"replay", "APP HISTORY.json...", 2, -1, "check a changed program against recorded histories",
     "Runs the orchestrators of APP against histories saved with `taskhub history ID --json`. A\n"
     "step that the code takes differently from what was recorded would fail running instances\n"
     "after a deployment; the first such step of each file is named, and the exit code is 1.",
     "  taskhub replay ./apps/orders.so order-17.json order-18.json\n", "log_level json",
     cli_replay},
    {"bench", "WORKLOAD", 1, 1, "measure the embedded hub, or a fleet",
     "Workloads: hello5 (five activities in sequence), call5 (five sub-orchestrations), fanout\n"
     "(--activities no-op activities at once), timers (--count timers due over 60 s, or --seconds),\n"
     "big-payload (five results of 4 MB), sleepers (--count instances that wait for an event).\n"
     "Embedded only: long-history (one instance with --count events). With --provider kafka, against\n"
     "a fleet whose workers run apps/bench.so (deploy/fleet.sh up): failover (--count workers killed\n"
     "with -9), cold-rebuild (the projection of --count instances is lost), lag (from a start until\n"
     "the monitor sees it). Clients are closed loops; only what was read back as Completed counts.",
     "  taskhub bench hello5 --clients 1 --seconds 10\n"
     "  taskhub bench fanout --activities 10000 --json\n"
     "  taskhub bench failover --provider kafka --count 20\n",
     "provider clients seconds count activities db fsync_delay partitions kafka redis "
     "kafka_property hub json log_level",
     cli_bench},
};

static void print_help(FILE *out)
{
    fprintf(out, "taskhub: durable workflows in C, version " TASKHUB_VERSION "\n\n"
                 "Usage: taskhub COMMAND [ARGUMENTS] [OPTIONS]\n\n"
                 "Begin with:\n"
                 "  taskhub dev ./apps/hello-cities.so          # in one terminal\n"
                 "  taskhub start hello_cities --wait           # in another\n\n"
                 "Commands:\n");
    for (size_t i = 0; i < TH_COUNT(commands); i++)
        fprintf(out, "  %-12s  %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "\n`taskhub COMMAND --help` explains a command, with examples.\n\n");
    cli_exits_help(out);
}

static const struct cli_command *find(const char *name)
{
    for (size_t i = 0; i < TH_COUNT(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static bool is_one_of(const char *word, const char *a, const char *b, const char *c)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

static int help_on(int argc, char **argv)
{
    const struct cli_command *command = argc > 2 ? find(argv[2]) : NULL;
    if (command)
        cli_command_help(command, stdout);
    else
        print_help(stdout);
    return CLI_OK;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct cli_options options;
    bool help = false;
    if (!cli_parse(command, argc, argv, &options, &help))
        return CLI_USAGE;
    if (help) {
        cli_command_help(command, stdout);
        return CLI_OK;
    }
    return command->run(&options);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    if (is_one_of(argv[1], "help", "--help", "-h"))
        return help_on(argc, argv);
    if (is_one_of(argv[1], "version", "--version", "-V")) {
        puts("taskhub " TASKHUB_VERSION);
        return CLI_OK;
    }
    if (strcmp(argv[1], TH_APPLICATION_COMMAND) == 0 && argc == 3)
        return th_appmain(argv[2]); /* started by `taskhub dev --isolate` */
    const struct cli_command *command = find(argv[1]);
    if (!command) {
        fprintf(stderr, "taskhub: there is no command \"%s\"; see taskhub --help\n", argv[1]);
        return CLI_USAGE;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int code = run(command, argc - 1, argv + 1);
    curl_global_cleanup();
    if (fflush(stdout) != 0 && code == CLI_OK)
        return CLI_ERROR;
    return code;
}
