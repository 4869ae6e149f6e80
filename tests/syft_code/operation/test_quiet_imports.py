"""What is a stub in a process: named and caught, never used."""

import subprocess
import sys

import pytest

from tests.other_users import ROOT

DESK = """
import runpy, sys
sys.argv = ["desk", "--home", "nowhere"]
try:
    runpy.run_module("datasites.desk.desk_process", run_name="__main__")
except SystemExit:
    pass
import boto3, azure.storage.blob, docker.errors, kr8s.objects
for make in (boto3.client, azure.storage.blob.BlobServiceClient, docker.DockerClient, kr8s.objects.Pod):
    try:
        make("x")
    except ImportError as problem:
        print(problem)
real = [name for name, module in sys.modules.items() if name.partition(".")[0] in
        ("azure", "boto3", "botocore", "docker", "kr8s", "s3transfer", "itables", "matplotlib") and
        getattr(module, "__file__", None)]
print("real:", real)
"""


@pytest.mark.slow
def test_the_front_desks_process_has_no_client_of_a_cloud_and_gets_none() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DESK], cwd=ROOT, capture_output=True, text=True, check=True
    )
    *refused, real = done.stdout.splitlines()
    assert len(refused) == 4 and all("is left out of this process" in line for line in refused)
    assert real == "real: []"


@pytest.mark.slow
def test_a_researchers_own_use_of_such_a_package_is_left_whole() -> None:
    code = "from federation.researcher import syft_client\nimport docker\nprint(docker.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("__init__.py")
