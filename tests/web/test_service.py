"""What is kept, for how long, and whose turn it is."""

from __future__ import annotations

import threading
import time

import pytest
from web_support import Client, Serve, eventually, picture, running

from bgai.web.fair_queue import FairQueue
from bgai.web.job import Job, JobOptions, safe_name
from bgai.web.settings import ServiceSettings


def job(client: str, number: int) -> Job:
    return Job(f"{client}{number}", client, "a.png", JobOptions(), "source.png", 1, 1, 1, 0)


def test_clients_take_turns() -> None:
    queue = FairQueue()
    for name in ("a1", "a2", "a3", "b1", "c1", "b2"):
        queue.put(job(name[0], int(name[1])))
    expected = ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert sorted(queue.ahead(), key=queue.ahead().__getitem__) == expected
    taken = [queue.take() for _ in range(6)]
    assert [each.id for each in taken if each] == expected
    assert not len(queue)


def test_jobs_leave_the_queue_and_its_end_ends_waiting() -> None:
    queue = FairQueue()
    first, second = job("a", 1), job("a", 2)
    queue.put(first)
    queue.put(second)
    queue.remove(first)
    assert queue.take() is second
    queue.remove(second)
    queue.close()
    assert queue.take() is None


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("holiday.JPG", "holiday.JPG"),
        ("../../etc/passwd", "passwd.png"),
        ("C:\\pictures\\a.webp", "a.webp"),
        ("", "picture.png"),
        (" ... ", "picture.png"),
        ("a\x00b\n\u202ec.png", "abc.png"),
        ("photo.heic", "photo.heic"),
        ("photo.psd", "photo.psd.png"),
        ("x" * 500 + ".png", "x" * 120 + ".png"),
    ],
)
def test_names_are_made_safe(given: str, name: str) -> None:
    assert safe_name(given, ".png") == name


def test_old_results_are_removed(client: Client) -> None:
    done = client.finished(client.add(picture(), "scale=2")["id"])
    service = client.service
    service.sweep(time.time() + 23 * 3600)
    assert done["id"] in service.jobs
    service.sweep(time.time() + 25 * 3600)
    assert done["id"] not in service.jobs
    assert not service.folder.path(done["id"]).exists()


def test_the_oldest_results_make_room(serve: Serve) -> None:
    client = serve(keep_megabytes=0.0025)  # room for the second alone
    first, second = (client.finished(client.add(picture(), "scale=2&format=tiff")["id"]) for _ in range(2))
    assert client.get(f"/v1/jobs/{second['id']}").status == 200
    size = second["input"]["bytes"] + second["output"]["bytes"]
    assert size < 2500 < 2 * size
    assert client.get(f"/v1/jobs/{first['id']}").status == 404


def test_health_is_told_while_the_engine_works(client: Client, held: threading.Event) -> None:
    job = client.add(picture(), "scale=2")
    assert eventually(lambda: client.get(f"/v1/jobs/{job['id']}").json["state"] == "running")
    assert all(client.get("/healthz").status == 200 for _ in range(20))
    assert client.get(f"/v1/jobs/{job['id']}").json["state"] == "running"
    held.set()
    assert client.finished(job["id"])["state"] == "done"


def test_an_interrupted_job_is_done_after_the_next_start(settings: ServiceSettings, held: threading.Event) -> None:
    with running(settings) as first:
        id = first.add(picture(), "scale=2")["id"]
        assert eventually(lambda: first.service.jobs[id].state == "running")
    assert first.service.jobs[id].state == "queued"
    held.set()
    with running(settings) as second:
        assert second.finished(id)["state"] == "done"


def test_a_stopped_job_leaves_nothing(client: Client) -> None:
    added = client.add(picture(height=160, width=160))
    assert client.ask("DELETE", f"/v1/jobs/{added['id']}").status == 204
    small = client.finished(client.add(picture(), "scale=2")["id"])
    assert small["state"] == "done"
    assert not client.service.folder.path(added["id"]).exists()
