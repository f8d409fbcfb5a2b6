"""Drives the client of the PyPI package azure-functions-durable 1.x against a running hub.

    python durable_functions.py BASE_URL DIRECTORY refused|waits

The last says what becomes of an orchestration that nobody serves.
The package encodes inputs and event data twice: what arrives is a JSON string that holds JSON.
"""
import asyncio
import datetime
import json
import os
import sys
import urllib.request

import azure.functions as func
from azure.durable_functions import DurableOrchestrationClient, OrchestrationRuntimeStatus as Status

BASE, DIRECTORY, UNSERVED = sys.argv[1:]


async def reaches(client, instance, status):
    while True:
        now = await client.get_status(instance)
        if now.runtime_status == status:
            return now
        assert now.runtime_status in (Status.Pending, Status.Running, Status.Suspended), now.to_json()
        await asyncio.sleep(0.02)


async def refused(call, *words):
    try:
        await call
    except Exception as error:  # the package raises nothing narrower
        for word in words:
            assert word in str(error), error
        return
    raise AssertionError("not refused: " + " ".join(words))


async def events(client):
    instance = await client.start_new("collect_anew", "py-collect", {"not": "what it wants"})
    await client.terminate(instance, "wrong input")
    assert (await reaches(client, instance, Status.Terminated)).output == "wrong input"

    instance = await client.start_new("stages")
    await client.suspend(instance, "take a rest")
    await reaches(client, instance, Status.Suspended)
    await client.raise_event(instance, "Go", {"n": [1, "ä"]})
    await client.raise_event(instance, "go", 2)
    await client.resume(instance, "go on, please & thanks")
    end = await reaches(client, instance, Status.Completed)
    assert json.loads(end.output) == 2, end.output
    assert json.loads(end.custom_status["go"]) == {"n": [1, "ä"]}, end.custom_status
    await refused(client.raise_event(instance, "Go", 3), "gone")
    await refused(client.raise_event("nobody", "Go", 3), "No instance")
    for call in (client.terminate, client.suspend, client.resume):
        await call(instance, "too late")  # 410 is let pass
        await refused(call("nobody", "x"), "nobody")


async def endings(client):
    path = os.path.join(DIRECTORY, "py-wanted")
    if UNSERVED == "waits":
        waiting = await client.start_new("no_such_orchestrator")
        await reaches(client, waiting, Status.Pending)
        await client.terminate(waiting, "nobody comes")
        await reaches(client, waiting, Status.Terminated)
    else:
        await refused(client.start_new("no_such_orchestrator"), "no_such_orchestrator")
    instance = await client.start_new("wants_file", None, path)
    failed = await reaches(client, instance, Status.Failed)
    assert "is not there" in str(failed.output)
    with open(path, "w", encoding="ascii"):
        pass
    await refused(client.rewind("nobody", "x"), "nobody")
    running = await client.start_new("approval")
    await refused(client.rewind(running, "x"))
    await client.raise_event(running, "Approval", True)
    await reaches(client, running, Status.Completed)
    await refused(client.rewind(running, "x"), "only supported on failed")
    await client.rewind(instance, "once more, please")
    await reaches(client, instance, Status.Failed)  # the input is a string in a string: no such file

    versioned = await client.start_new("whoami", version="1.5")
    assert (await reaches(client, versioned, Status.Completed)).output["version"] == "1.5"
    again = await client.restart(versioned)
    again = again["id"] if isinstance(again, dict) else again
    assert again != versioned
    assert (await reaches(client, again, Status.Completed)).output["version"] == "1.5"


async def lists(client):
    began = datetime.datetime.utcnow() - datetime.timedelta(minutes=1)
    ids = await asyncio.gather(*(client.start_new("whoami", f"py-list-{i}") for i in range(40)))
    await asyncio.gather(*(reaches(client, i, Status.Completed) for i in ids))
    found = []
    while len(found) < len(ids):
        found = await client.get_status_by(began, None, [Status.Completed], "py-list-")
    assert sorted(row.instance_id for row in found) == sorted(ids)
    assert len(await client.get_status_all()) >= len(ids)
    shown = await client.get_status(ids[0], show_history=True, show_history_output=True, show_input=True)
    assert shown.name == "whoami" and shown.runtime_status == Status.Completed
    assert (await client.purge_instance_history(ids[0])).instances_deleted == 1
    assert (await client.purge_instance_history(ids[0])).instances_deleted == 0
    assert (await client.purge_instance_history_by(began, None, [Status.Completed])).instances_deleted >= 39
    assert (await client.purge_instance_history_by(began, None, [Status.Completed])).instances_deleted == 0


async def waits(client):
    request = func.HttpRequest("GET", f"{BASE}/any", body=b"")
    wait = client.wait_for_completion_or_create_check_status_response
    instance = await client.start_new("whoami")
    done = await wait(request, instance, 10000, 50)
    assert done.status_code == 200 and json.loads(done.get_body())["name"] == "whoami"
    instance = await client.start_new("approval")
    check = await wait(request, instance, 200, 50)
    assert check.status_code == 202, check.status_code
    assert json.loads(check.get_body())["id"] == instance
    await client.terminate(instance, "enough")
    payload = client.create_http_management_payload(instance)
    assert payload["statusQueryGetUri"].startswith(BASE), payload


async def main():
    with urllib.request.urlopen(f"{BASE}/runtime/webhooks/durabletask/binding") as answer:
        client = DurableOrchestrationClient(answer.read().decode())
    for part in (events, endings, lists, waits):
        await part(client)
    print("all as promised")


asyncio.run(main())
