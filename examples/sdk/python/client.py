"""A client for the workflows of this folder, or for anything else in the hub:

    python client.py start NAME [INPUT [ID]]     starts an instance, prints its id
    python client.py wait ID                     waits for its end, prints status and output
    python client.py raise ID EVENT [DATA]       raises an event
    python client.py signal ENTITY KEY OPERATION [INPUT]
    python client.py entity ENTITY KEY           prints an entity's state

INPUT and DATA are JSON. The endpoint is $TASKHUB_RPC, else localhost:4001.
"""
import json
import os
import sys

from durabletask.client import OrchestrationStatus, TaskHubGrpcClient
from durabletask.entities import EntityInstanceId


def value(text):
    return json.loads(text) if text else None


def start(client, name, data=None, instance=None):
    print(client.schedule_new_orchestration(name, input=value(data), instance_id=instance))


def wait(client, instance):
    state = client.wait_for_orchestration_completion(instance, timeout=60)
    if state.runtime_status == OrchestrationStatus.COMPLETED:
        print(json.dumps({"status": "COMPLETED", "output": state.get_output()}))
    else:
        failure = state.failure_details
        print(json.dumps({"status": state.runtime_status.name,
                          "error": failure.message if failure else None}))


def raise_event(client, instance, event, data=None):
    client.raise_orchestration_event(instance, event, data=value(data))


def signal(client, entity, key, operation, data=None):
    client.signal_entity(EntityInstanceId(entity, key), operation, input=value(data))


def entity(client, name, key):
    found = client.get_entity(EntityInstanceId(name, key))
    print(json.dumps(found.get_typed_state() if found else None))


def main():
    commands = {"start": start, "wait": wait, "raise": raise_event, "signal": signal,
                "entity": entity}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    endpoint = os.environ.get("TASKHUB_RPC", "localhost:4001")
    with TaskHubGrpcClient(host_address=endpoint) as client:
        commands[sys.argv[1]](client, *sys.argv[2:])


if __name__ == "__main__":
    main()
