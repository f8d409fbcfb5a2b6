"""A sidecar to try SDK programs with when there is no Taskhub: the in-memory backend of the PyPI
package durabletask, on a free port, as a program of its own.

    python stand_in.py

It prints the line about RPC that `taskhub dev` prints and ends with SIGTERM. What the backend
lacks is added here: work of a stream that broke is handed out again, a completion may come without
its token, since older SDKs do not send it back, and a start in the past is a start now.
"""
import signal
import threading
import time
from concurrent import futures

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from durabletask.testing import InMemoryOrchestrationBackend
from durabletask.testing.in_memory_backend import ActivityWorkItem

STREAMS_AND_WAITS = 512


class Backend(InMemoryOrchestrationBackend):
    def __init__(self):
        super().__init__()
        self.activities = {}  # by (instance, task): the work item that is under way

    def StartInstance(self, request, context):
        if request.scheduledStartTimestamp.ToSeconds() < time.time():
            request.ClearField("scheduledStartTimestamp")
        return super().StartInstance(request, context)

    def _wait_for_state(self, instance_id, predicate, timeout):
        """Without a deadline gRPC gives a time that is too long to wait for."""
        return super()._wait_for_state(instance_id, predicate, min(timeout or 30, 3600))

    def GetWorkItems(self, request, context):
        mine = []
        try:
            for item in super().GetWorkItems(request, context):
                mine.append(item)
                activity = item.activityRequest
                if item.HasField("activityRequest"):
                    key = activity.orchestrationInstance.instanceId, activity.taskId
                    with self._lock:
                        self.activities[key] = item
                yield item
        finally:
            with self._lock:
                for item in mine:
                    self.hand_back(item)
            self._work_available.set()

    def fresh_token(self):
        self._next_completion_token += 1
        return self._next_completion_token

    def hand_back(self, item):
        """With a new token: whoever had it may still come with a result."""
        if item.HasField("orchestratorRequest"):
            instance = self._instances.get(item.orchestratorRequest.instanceId)
            if instance and str(instance.completion_token) == item.completionToken and \
                    instance.instance_id in self._orchestration_in_flight:
                instance.pending_events[:0] = instance.dispatched_events
                instance.dispatched_events.clear()
                instance.completion_token = self.fresh_token()
                self._orchestration_in_flight.discard(instance.instance_id)
                self._enqueue_orchestration(instance.instance_id)
        elif item.HasField("activityRequest"):
            activity = item.activityRequest
            key = activity.orchestrationInstance.instanceId, activity.taskId
            if self.activities.get(key) is item:
                del self.activities[key]
                self._activity_queue.append(ActivityWorkItem(
                    key[0], activity.name, activity.taskId,
                    activity.input.value if activity.HasField("input") else None,
                    self.fresh_token()))
        elif item.HasField("entityRequestV2"):
            entity = self._entities.get(item.entityRequestV2.instanceId)
            if entity and str(entity.completion_token) == item.completionToken and \
                    entity.instance_id in self._entity_in_flight:
                entity.pending_operations[:0] = entity.dispatched_operations
                entity.dispatched_operations.clear()
                entity.completion_token = self.fresh_token()
                self._entity_in_flight.discard(entity.instance_id)
                self._enqueue_entity(entity.instance_id)

    def CompleteOrchestratorTask(self, request, context):
        if not request.completionToken:
            with self._lock:
                instance = self._instances.get(request.instanceId)
                request.completionToken = str(instance.completion_token) if instance else ""
        return super().CompleteOrchestratorTask(request, context)

    def CompleteActivityTask(self, request, context):
        key = request.instanceId, request.taskId
        with self._lock:
            item = self.activities.get(key)
            if not item or request.completionToken not in ("", item.completionToken):
                return pb.CompleteTaskResponse()
            del self.activities[key]
        return super().CompleteActivityTask(request, context)

    def serve(self):
        """The backend's own `start` cannot choose a port and has ten threads: a wait takes one."""
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=STREAMS_AND_WAITS))
        stubs.add_TaskHubSidecarServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        return port


def main():
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    signal.signal(signal.SIGINT, lambda *_: end.set())
    backend = Backend()
    print(f"  RPC            localhost:{backend.serve()}", flush=True)
    end.wait()
    backend.stop()


if __name__ == "__main__":
    main()
