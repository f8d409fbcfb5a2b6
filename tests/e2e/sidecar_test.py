"""Our definition of the sidecar protocol against the published one: what travels must be the same.

Names of fields do not travel. It is run by an interpreter of its own, which packages.py installs
with the SDK that carries the definition.
"""
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from packages import call, pypi, run_within  # noqa: E402

FOLDER = pypi("durabletask==1.12.0")
run_within(FOLDER)

from google.protobuf import descriptor_pb2  # noqa: E402
from durabletask.internal import orchestrator_service_pb2 as published  # noqa: E402

SOURCE = os.environ.get("TASKHUB_SOURCE") or os.path.dirname(os.path.dirname(HERE))
PROTO = os.path.join(SOURCE, "common", "rpc", "sidecar.proto")


def field_shape(message, field):
    """Everything of a field but its name; of a oneof, the numbers that exclude each other."""
    others = ()
    if field.HasField("oneof_index"):
        others = tuple(sorted(f.number for f in message.field
                              if f.HasField("oneof_index") and f.oneof_index == field.oneof_index))
    return field.label, field.type, field.type_name, field.proto3_optional, others


def add_message(shapes, prefix, message):
    name = f"{prefix}.{message.name}"
    shapes[name] = {f.number: field_shape(message, f) for f in message.field}
    shapes[name + " (map)"] = message.options.map_entry
    for nested in message.nested_type:
        add_message(shapes, name, nested)
    for enum in message.enum_type:
        shapes[f"{name}.{enum.name}"] = {v.number: v.name for v in enum.value}


def shape_of(file):
    shapes = {"package": file.package, "syntax": file.syntax}
    for service in file.service:
        for m in service.method:
            shapes[f"/{service.name}/{m.name}"] = (m.client_streaming, m.input_type,
                                                   m.server_streaming, m.output_type)
    for message in file.message_type:
        add_message(shapes, file.package, message)
    for enum in file.enum_type:
        shapes[f".{enum.name}"] = {v.number: v.name for v in enum.value}
    return shapes


def compiled(text):
    """The shape of a definition, as protoc sees it."""
    with tempfile.TemporaryDirectory() as folder:
        proto, out = os.path.join(folder, "sidecar.proto"), os.path.join(folder, "set")
        with open(proto, "w", encoding="utf-8") as file:
            file.write(text)
        call("protoc", f"-I{folder}", "-I/usr/include", f"--descriptor_set_out={out}", proto)
        with open(out, "rb") as file:
            files = descriptor_pb2.FileDescriptorSet.FromString(file.read())
    return shape_of(files.file[0])


def published_shape():
    file = descriptor_pb2.FileDescriptorProto()
    published.DESCRIPTOR.CopyToProto(file)
    return shape_of(file)


def differences(ours, theirs):
    return {name: (ours.get(name), theirs.get(name))
            for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)}


class Definition(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        with open(PROTO, encoding="utf-8") as file:
            self.text = file.read()
        self.theirs = published_shape()

    def test_what_travels_is_the_same(self):
        self.assertGreater(len(self.theirs), 150)
        self.assertEqual(differences(compiled(self.text), self.theirs), {})

    def test_each_kind_of_difference_is_seen(self):
        changes = [
            ("int32 task_id = 5;", "int32 task_id = 15;", ".ActivityRequest"),
            ("int32 task_id = 5;", "int64 task_id = 5;", ".ActivityRequest"),
            ("bool recursive = 3;", "repeated bool recursive = 3;", ".TerminateRequest"),
            ("bool recursive = 3;", "", ".TerminateRequest"),
            ("returns (stream WorkItem)", "returns (WorkItem)", "/TaskHubSidecarService/GetWorkItems"),
            ("rpc RaiseEvent(", "rpc RaisesEvent(", "/TaskHubSidecarService/RaiseEvent"),
            ("ORCHESTRATION_STATUS_FAILED = 3", "ORCHESTRATION_STATUS_FAILED = 13",
             ".OrchestrationStatus"),
            ('syntax = "proto3";', 'syntax = "proto3";\npackage elsewhere;', "package"),
        ]
        for old, new, where in changes:
            with self.subTest(new):
                self.assertIn(old, self.text)
                changed = compiled(self.text.replace(old, new, 1))
                self.assertIn(where, differences(changed, self.theirs))


if __name__ == "__main__":
    unittest.main(verbosity=2)
