"""The sidecar protocol without an SDK, for tests: a client that calls, and a program that takes work
item by item and answers what a test wants it to. The messages are those of the published package.

Whoever imports this runs under the interpreter of sdk/languages.py, python_environment().
"""
import queue
import threading
import time
import uuid

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from google.protobuf import descriptor_pb2, descriptor_pool, empty_pb2, message_factory
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from harness import PATIENCE

EMPTY = empty_pb2.Empty()
NO_LIMIT = -1  # of a message's size
# A channel of its own, not one shared with others of the same target.
OWN = [("grpc.use_local_subchannel_pool", 1)]


def text(value):
    return None if value is None else StringValue(value=value)


def moment(seconds):
    """Seconds since 1970."""
    stamp = Timestamp()
    stamp.FromMicroseconds(int(seconds * 1e6))
    return stamp


def seconds(stamp):
    return stamp.ToMicroseconds() / 1e6


def later(by):
    return moment(time.time() + by)


def status(name):
    return pb.OrchestrationStatus.Value("ORCHESTRATION_STATUS_" + name)


def kinds(events):
    return [event.WhichOneof("eventType") for event in events]


def failure(kind="Broken", message="it broke", **more):
    return pb.TaskFailureDetails(errorType=kind, errorMessage=message, **more)


def dapr_messages():
    """By name: what Dapr's definition has beside the published one. Names do not travel."""
    field = descriptor_pb2.FieldDescriptorProto
    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    file = descriptor_pb2.FileDescriptorProto(
        name="dapr_of_tests.proto", package="dapr_of_tests", syntax="proto3",
        dependency=[pb.DESCRIPTOR.name])
    for name, *fields in (
            ("ListRequest", ("token", 1, one, field.TYPE_STRING), ("size", 2, one, field.TYPE_UINT32)),
            ("ListResponse", ("ids", 1, many, field.TYPE_STRING), ("token", 2, one, field.TYPE_STRING)),
            ("HistoryRequest", ("instance", 1, one, field.TYPE_STRING)),
            ("HistoryResponse", ("events", 1, many, field.TYPE_MESSAGE))):
        message = file.message_type.add(name=name)
        for name, number, label, kind in fields:
            added = message.field.add(name=name, number=number, label=label, type=kind)
            if kind == field.TYPE_MESSAGE:
                added.type_name = "." + pb.HistoryEvent.DESCRIPTOR.full_name
            elif label == one and name in ("token", "size"):
                added.proto3_optional = True
                added.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name="_" + name)
    descriptor_pool.Default().Add(file)
    return {m.name: message_factory.GetMessageClass(
        descriptor_pool.Default().FindMessageTypeByName(f"{file.package}.{m.name}"))
            for m in file.message_type}


# ---- actions ----

def schedule(number, name, data=None, **more):
    return pb.OrchestratorAction(id=number, scheduleTask=pb.ScheduleTaskAction(
        name=name, input=text(data), **more))


def child(number, name, data=None, **more):
    return pb.OrchestratorAction(id=number, createSubOrchestration=pb.CreateSubOrchestrationAction(
        name=name, input=text(data), **more))


def timer(number, fire_at):
    return pb.OrchestratorAction(id=number, createTimer=pb.CreateTimerAction(fireAt=fire_at))


def send(number, instance, name, data=None):
    return pb.OrchestratorAction(id=number, sendEvent=pb.SendEventAction(
        instance=pb.OrchestrationInstance(instanceId=instance), name=name, data=text(data)))


def complete(result=None, how="COMPLETED", number=-1, **more):
    return pb.OrchestratorAction(id=number, completeOrchestration=pb.CompleteOrchestrationAction(
        orchestrationStatus=status(how), result=text(result), **more))


def fail(details=None):
    return complete(how="FAILED", failureDetails=details or failure())


def entity_message(number, **kind):
    return pb.OrchestratorAction(id=number, sendEntityMessage=pb.SendEntityMessageAction(**kind))


def call_entity(number, target, operation, data=None, request=None):
    return entity_message(number, entityOperationCalled=pb.EntityOperationCalledEvent(
        requestId=request or str(uuid.uuid4()), operation=operation, input=text(data),
        targetInstanceId=text(target)))


def signal_entity(number, target, operation, data=None, **more):
    return entity_message(number, entityOperationSignaled=pb.EntityOperationSignaledEvent(
        requestId=str(uuid.uuid4()), operation=operation, input=text(data),
        targetInstanceId=text(target), **more))


def lock(number, section, entities, parent):
    return entity_message(number, entityLockRequested=pb.EntityLockRequestedEvent(
        criticalSectionId=section, lockSet=entities, position=0, parentInstanceId=text(parent)))


def unlock(number, section, target, parent):
    return entity_message(number, entityUnlockSent=pb.EntityUnlockSentEvent(
        criticalSectionId=section, targetInstanceId=text(target), parentInstanceId=text(parent)))


def success(result=None):
    return pb.OperationResult(success=pb.OperationResultSuccess(result=text(result)))


# ---- filters ----

def filters(orchestrations=(), activities=(), entities=()):
    """Names; or pairs of a name and its versions."""
    def parts(given):
        return (given, ()) if isinstance(given, str) else given
    return pb.WorkItemFilters(
        orchestrations=[pb.OrchestrationFilter(name=name, versions=versions)
                        for name, versions in map(parts, orchestrations)],
        activities=[pb.ActivityFilter(name=name, versions=versions)
                    for name, versions in map(parts, activities)],
        entities=[pb.EntityFilter(name=name) for name in entities])


# ---- a client ----

class Peer:
    """A channel, and the calls that tests make most often."""

    def __init__(self, endpoint, metadata=None, limit=NO_LIMIT, credentials=None, agent=None):
        options = [*OWN, ("grpc.max_receive_message_length", limit),
                   ("grpc.max_send_message_length", NO_LIMIT)]
        if agent:
            options.append(("grpc.primary_user_agent", agent))
        self.channel = (grpc.secure_channel(endpoint, credentials, options) if credentials
                        else grpc.insecure_channel(endpoint, options))
        self.stub = stubs.TaskHubSidecarServiceStub(self.channel)
        self.metadata = metadata

    def close(self):
        self.channel.close()

    def call(self, name, request, timeout=PATIENCE):
        return getattr(self.stub, name)(request, timeout=timeout, metadata=self.metadata)

    def code(self, name, request, timeout=PATIENCE):
        """The status' name, "OK" included."""
        try:
            self.call(name, request, timeout)
        except grpc.RpcError as error:
            return error.code().name
        return "OK"

    def begin(self, name, instance="", data=None, **more):
        return self.call("StartInstance", pb.CreateInstanceRequest(
            instanceId=instance, name=name, input=text(data), **more)).instanceId

    def look(self, instance, payloads=True):
        """Its state; None: there is none."""
        answer = self.call("GetInstance", pb.GetInstanceRequest(
            instanceId=instance, getInputsAndOutputs=payloads))
        return answer.orchestrationState if answer.exists else None

    def how(self, instance):
        state = self.look(instance, False)
        return state and pb.OrchestrationStatus.Name(state.orchestrationStatus)[21:]

    def end(self, instance, timeout=PATIENCE):
        """Its state once it has ended."""
        return self.call("WaitForInstanceCompletion", pb.GetInstanceRequest(
            instanceId=instance, getInputsAndOutputs=True), timeout).orchestrationState

    def result(self, instance, timeout=PATIENCE):
        state = self.end(instance, timeout)
        assert state.orchestrationStatus == status("COMPLETED"), state
        return state.output.value

    def history(self, instance, **more):
        return [event for chunk in self.call("StreamInstanceHistory", pb.StreamInstanceHistoryRequest(
            instanceId=instance, **more)) for event in chunk.events]

    def tell(self, instance, name, data=None):
        self.call("RaiseEvent", pb.RaiseEventRequest(instanceId=instance, name=name,
                                                     input=text(data)))

    def signal(self, entity, operation, data=None, **more):
        self.call("SignalEntity", pb.SignalEntityRequest(
            instanceId=entity, name=operation, input=text(data), requestId=str(uuid.uuid4()), **more))

    def entity(self, entity, state=True):
        """Its metadata; None: it does not exist."""
        answer = self.call("GetEntity", pb.GetEntityRequest(instanceId=entity, includeState=state))
        return answer.entity if answer.exists else None


# ---- a program that takes work ----

class Item:
    """A work item; the methods answer it."""

    def __init__(self, program, item):
        self.program = program
        self.peer = program.peer
        self.token = item.completionToken
        self.which = item.WhichOneof("request")
        self.request = getattr(item, self.which)
        self.bytes = item.ByteSize()

    def abandon(self):
        rpc, request = {
            "orchestratorRequest": ("AbandonTaskOrchestratorWorkItem",
                                    pb.AbandonOrchestrationTaskRequest),
            "activityRequest": ("AbandonTaskActivityWorkItem", pb.AbandonActivityTaskRequest),
            "entityRequestV2": ("AbandonTaskEntityWorkItem", pb.AbandonEntityTaskRequest),
        }[self.which]
        self.peer.call(rpc, request(completionToken=self.token))


class Turn(Item):
    """An orchestrator's."""

    @property
    def instance(self):
        return self.request.instanceId

    @property
    def execution(self):
        return self.request.executionId.value

    @property
    def past(self):
        return self.request.pastEvents

    @property
    def new(self):
        return self.request.newEvents

    @property
    def kinds(self):
        return kinds(self.new)

    def event(self, kind):
        """The only new event of that kind."""
        found = [getattr(event, kind) for event in self.new if event.WhichOneof("eventType") == kind]
        assert len(found) == 1, (kind, self.kinds)
        return found[0]

    @property
    def started(self):
        """The beginning of this execution, wherever it stands."""
        return next(event.executionStarted for event in [*self.past, *self.new]
                    if event.HasField("executionStarted"))

    def reply(self, *actions, custom=None, token=None, **more):
        self.peer.call("CompleteOrchestratorTask", pb.OrchestratorResponse(
            instanceId=self.instance, actions=actions, customStatus=text(custom),
            completionToken=self.token if token is None else token, **more))


class Task(Item):
    """An activity's."""

    def reply(self, result=None, token=None, instance=None, **more):
        self.peer.call("CompleteActivityTask", pb.ActivityResponse(
            instanceId=instance or self.request.orchestrationInstance.instanceId,
            taskId=self.request.taskId, result=text(result),
            completionToken=self.token if token is None else token, **more))


class Batch(Item):
    """An entity's."""

    @property
    def operations(self):
        return [(event.entityOperationSignaled if event.HasField("entityOperationSignaled")
                 else event.entityOperationCalled) for event in self.request.operationRequests]

    @property
    def names(self):
        return [operation.operation for operation in self.operations]

    @property
    def state(self):
        return self.request.entityState.value if self.request.HasField("entityState") else None

    def reply(self, *results, state=None, actions=(), token=None, **more):
        self.peer.call("CompleteEntityTask", pb.EntityBatchResult(
            results=results, entityState=text(state), actions=actions,
            completionToken=self.token if token is None else token, **more))


class Program:
    """A GetWorkItems stream. Items are taken in the order in which they came."""
    KINDS = {"orchestratorRequest": Turn, "activityRequest": Task, "entityRequestV2": Batch}

    def __init__(self, endpoint, orchestrations=(), activities=(), entities=(), everything=False,
                 metadata=None, limit=NO_LIMIT, credentials=None, **request):
        self.peer = Peer(endpoint, metadata, limit, credentials)
        self.items = queue.Queue()
        self.pings = 0
        self.ended = None  # the status' name
        if not everything:
            request["workItemFilters"] = filters(orchestrations, activities, entities)
        self.stream = self.peer.stub.GetWorkItems(pb.GetWorkItemsRequest(**request),
                                                  metadata=metadata)
        # The stream is open once its headers have come.
        self.stream.initial_metadata()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        try:
            for item in self.stream:
                which = item.WhichOneof("request")
                if which == "healthPing":
                    self.pings += 1
                else:
                    self.items.put(self.KINDS[which](self, item))
            self.ended = "OK"
        except grpc.RpcError as error:
            self.ended = error.code().name
        self.items.put(None)

    def take(self, kind=None, patience=PATIENCE):
        try:
            item = self.items.get(timeout=patience)
        except queue.Empty:
            raise AssertionError("no work came") from None
        assert item is not None, f"the stream ended with {self.ended}"
        assert kind is None or isinstance(item, kind), (kind, item.which)
        return item

    def turn(self, patience=PATIENCE):
        return self.take(Turn, patience)

    def task(self, patience=PATIENCE):
        return self.take(Task, patience)

    def batch(self, patience=PATIENCE):
        return self.take(Batch, patience)

    def idle(self):
        """Whether all that came has been taken."""
        return self.items.empty()

    def wait_ended(self):
        self.reader.join(PATIENCE)
        assert not self.reader.is_alive(), "the stream did not end"
        return self.ended

    def break_off(self):
        """The stream goes, the connection stays."""
        self.stream.cancel()
        self.wait_ended()

    def close(self):
        self.stream.cancel()
        self.peer.close()
