"""The HTTP interface, asked over loopback as clients do."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from web_support import Client, Serve, eventually, picture

from bgai.web.openapi import EXAMPLE_JOB, document
from bgai.web.preview import Preview
from bgai.web.routes import API


def command_line(folder: Path, name: str, content: bytes, *options: str) -> bytes:
    """What `bgai upscale` makes of a picture."""
    source = folder / name
    source.write_bytes(content)
    target = folder / "by_command"
    command = [sys.executable, "-m", "bgai", "upscale", str(source), "-o", str(target), *options]
    subprocess.run(command, check=True, capture_output=True)
    (result,) = target.iterdir()
    return result.read_bytes()


def form(content: bytes, name: str, **fields: str) -> tuple[bytes, str]:
    """The body of a form with a picture, and its content type."""
    parts = [
        f'--line\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in fields.items()
    ]
    head = f'--line\r\nContent-Disposition: form-data; name="picture"; filename="{name}"\r\n\r\n'
    body = "".join(parts).encode() + head.encode() + content + b"\r\n--line--\r\n"
    return body, "multipart/form-data; boundary=line"


def test_a_result_is_the_command_lines_byte_for_byte(client: Client, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    content = picture(".jpg", quality=60, exif=exif)
    expected = command_line(tmp_path, "photo.jpg", content, "--scale", "2", "--quality", "80")
    body, kind = form(content, "photo.jpg", scale="2", quality="80")
    answer = client.ask("POST", "/v1/upscale", body, content_type=kind)
    assert answer.status == 200, answer.body
    assert answer.body == expected
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["content-disposition"] == 'attachment; filename="photo_x2.jpg"'
    assert answer.headers["bgai-weights"] == "photo weights: JPEG of quality about 60"
    assert eventually(lambda: all(job.name != "photo.jpg" for job in client.service.jobs.values()))


def test_a_picture_can_be_the_body_itself(client: Client) -> None:
    answer = client.send("/v1/upscale?scale=3&name=small.png&format=webp", picture(height=5, width=7))
    assert Image.open(io.BytesIO(answer.body)).size == (21, 15)
    assert answer.headers["content-type"] == "image/webp"


def test_a_picture_that_is_sent_again_is_the_same_job(client: Client) -> None:
    first, again, other = (
        client.send("/v1/jobs?scale=2&client=sender", picture(), idempotency_key=key).json["id"] for key in "aab"
    )
    assert first == again != other
    assert len(client.get("/v1/jobs?client=sender").json["jobs"]) == 2


@pytest.mark.parametrize(
    ("query", "options", "name", "size"),
    [
        ("width=30", ["--width", "30"], "small_w30.png", (30, 25)),
        ("width=60&height=30", ["--fit", "60x30"], "small_60x30.png", (36, 30)),
        ("factor=5", ["--factor", "5"], "small_x5.png", (60, 50)),  # two networks, one after the other
    ],
)
def test_a_size_of_ones_own(
    client: Client, tmp_path: Path, query: str, options: list[str], name: str, size: tuple[int, int]
) -> None:
    job = client.finished(client.add(picture(), f"{query}&name=small.png")["id"])
    assert job["state"] == "done", job["error"]
    assert job["output"] | {"bytes": 0} == {
        "width": size[0],
        "height": size[1],
        "name": name,
        "bytes": 0,
        "type": "image/png",
    }
    assert client.get(job["result"]).body == command_line(tmp_path, "small.png", picture(), *options)
    view = client.get(f"/v1/jobs/{job['id']}/view?of=bicubic")
    assert Image.open(io.BytesIO(view.body)).size == size


@pytest.mark.parametrize("suffix", [".gif", ".bmp", ".avif", ".jxl"])
def test_kinds_that_browsers_or_libvips_do_not_read(client: Client, suffix: str) -> None:
    if suffix == ".jxl":
        pytest.importorskip("pillow_jxl", reason="the extra [jxl] is not installed")
    job = client.finished(client.add(picture(suffix), f"scale=2&name=a{suffix}&format=avif")["id"])
    assert job["state"] == "done", job["error"]
    assert job["output"]["type"] == "image/avif"
    for part in ("thumbnail", "view?of=bicubic", "view?of=result", "result"):
        answer = client.get(f"/v1/jobs/{job['id']}/{part}")
        assert answer.status == 200, (part, answer.body)
        Image.open(io.BytesIO(answer.body)).load()


def test_finished_rows_are_shown_while_the_rest_is_computed(client: Client) -> None:
    job = client.finished(client.add(picture(), "scale=2")["id"])
    address = f"/v1/jobs/{job['id']}"
    refused = client.get(f"{address}/preview")
    assert (refused.status, refused.error) == (409, "picture.png: is done; there are no rows to show")
    stored = client.service.jobs[job["id"]]
    stored.preview = Preview((20, 24))  # as while it runs
    stored.preview.add(np.full((5, 24, 3), 90, np.uint8))
    assert client.get(address).json["rows_done"] == 5
    shown = client.get(f"{address}/preview")
    assert shown.headers["cache-control"] == "no-store"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(shown.body))), np.full((5, 24, 3), 90))


def test_metadata_is_left_out_on_request(client: Client) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    content = picture(".jpg", exif=exif)
    kept, bare = (
        client.send(f"/v1/upscale?scale=2&metadata={keep}", content, accept="*/*").body for keep in ("true", "false")
    )
    assert Image.open(io.BytesIO(kept)).getexif()[0x010F] == "Maker"
    assert not Image.open(io.BytesIO(bare)).getexif()


def test_a_job_from_the_queue_to_its_result(client: Client) -> None:
    job = client.add(picture(), "client=someone&scale=2&name=..%2F..%2Fmy%20picture.png")
    assert job["name"] == "my picture.png"
    assert job["state"] in ("queued", "running")
    assert job["output"] == {"width": 24, "height": 20}
    done = client.finished(job["id"])
    assert done["state"] == "done", done["error"]
    assert done["weights"] == "bgai weights: lossless PNG"
    assert done["progress"] == 1
    result = client.get(done["result"])
    assert len(result.body) == done["output"]["bytes"]
    assert result.headers["content-disposition"] == "attachment; filename*=utf-8''my%20picture_x2.png"
    assert [each["id"] for each in client.get("/v1/jobs?client=someone").json["jobs"]] == [job["id"]]
    assert client.get("/v1/jobs?client=another").json["jobs"] == []
    assert client.ask("DELETE", f"/v1/jobs/{job['id']}").status == 204
    assert client.get(f"/v1/jobs/{job['id']}").status == 404
    assert not client.service.folder.path(job["id"]).exists()


def test_events_tell_of_a_job_to_its_end(client: Client) -> None:
    job = client.add(picture(), "scale=2")
    answer = client.get(f"/v1/jobs/{job['id']}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = answer.body.decode().splitlines()
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert told[-1]["state"] == "done"
    assert lines.count("event: job") == len(told)
    shares = [each["progress"] for each in told]
    assert shares == sorted(shares)


def test_what_is_shown_has_the_pixels_of_the_result(client: Client) -> None:
    job = client.finished(client.add(picture(height=12, width=16), "scale=4&format=tiff")["id"])
    result = np.asarray(Image.open(io.BytesIO(client.get(job["result"]).body)))
    part = client.get(f"/v1/jobs/{job['id']}/view?of=result&left=8&top=4&width=20&height=30")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(part.body))), result[4:34, 8:28])
    whole, cut = (
        np.asarray(Image.open(io.BytesIO(client.get(f"/v1/jobs/{job['id']}/view?of=bicubic{region}").body)))
        for region in ("", "&left=21&top=18&width=25&height=17")
    )
    assert whole.shape == result.shape
    assert np.abs(whole[18:35, 21:46].astype(int) - cut).max() <= 1
    assert client.get(f"/v1/jobs/{job['id']}/view?left=60&width=9").status == 422


def test_a_thumbnail_is_small_and_upright(client: Client) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned to the right
    job = client.add(picture(".jpg", height=100, width=300, exif=exif), "scale=2")
    thumbnail = Image.open(io.BytesIO(client.get(f"/v1/jobs/{job['id']}/thumbnail").body))
    assert thumbnail.size == (64, 192)
    assert (job["input"]["width"], job["input"]["height"]) == (100, 300)
    assert client.get(f"/v1/jobs/{job['id']}/source").headers["content-length"] == str(job["input"]["bytes"])
    client.ask("DELETE", f"/v1/jobs/{job['id']}")


def test_all_results_come_in_one_archive(client: Client) -> None:
    contents = [picture(), picture(".webp", lossless=True)]
    jobs = [
        client.finished(client.add(content, "client=packer&scale=2&format=png&name=a.png")["id"])
        for content in contents
    ]
    archive = zipfile.ZipFile(io.BytesIO(client.get("/v1/results.zip?client=packer").body))
    assert archive.namelist() == ["a_x2.png", "a_x2 (2).png"]
    assert archive.testzip() is None
    assert [archive.read(name) for name in archive.namelist()] == [client.get(job["result"]).body for job in jobs]
    assert client.get("/v1/results.zip?client=nobody").status == 404


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("scale=5", "scale 5: expected one of 2, 3 and 4"),
        ("scale=two", "scale 'two': expected a whole number"),
        ("quality=0", "quality 0: expected 1 to 100"),
        ("weights=/etc/passwd", "weights '/etc/passwd': expected one of auto, bgai, photo, official"),
        ("clean=2", "clean 2: expected 0 to 1"),
        ("scale=2&width=100", "a scale and a size: leave one of them out"),
        ("factor=17", "factor 17: expected 1 to 16"),
        ("width=11&name=a.png", "a.png: 12 x 10 is more than the size asked for, w11: there is nothing to enlarge"),
        ("format=psd", "format 'psd': expected one of png, jpeg, jpg, webp, tiff, tif, avif, gif"),
        ("metadata=maybe", "metadata 'maybe': expected true or false"),
        (
            "tile=64",
            "option 'tile': expected one of scale, factor, width, height, weights, clean, format, quality, metadata",
        ),
        ("client=a/b", "client: expected 1 to 64 letters, digits and hyphens"),
    ],
)
def test_options_out_of_range_are_refused_in_one_line(client: Client, query: str, message: str) -> None:
    answer = client.send(f"/v1/jobs?{query}", picture())
    assert (answer.status, answer.error) == (422, message)
    assert not list(client.service.settings.folder.glob("*/upload"))


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (
            b"hello",
            415,
            "not a picture of a kind that is read; expected PNG, JPEG, WebP, TIFF, AVIF, GIF, BMP, HEIC or JPEG XL",
        ),
        (picture()[:40], 422, "photo.png: damaged: no whole header of PNG"),
        (b"", 422, "no picture in the request; expected one as its body, or as 'picture' of a form"),
    ],
)
def test_what_is_no_picture_is_refused(client: Client, content: bytes, status: int, message: str) -> None:
    answer = client.send("/v1/upscale?name=photo.png", content)
    assert (answer.status, answer.error) == (status, message)


def test_damage_behind_the_header_is_told_without_a_path(client: Client) -> None:
    content = picture(height=60, width=60)
    answer = client.send("/v1/upscale?name=photo.png&scale=2", content[: len(content) // 2])
    assert answer.status == 422
    assert answer.error.startswith("photo.png: damaged or cut short")
    job = client.add(content[: len(content) // 2], "name=photo.png&scale=2")
    failed = client.finished(job["id"])
    assert failed["state"] == "failed"
    assert failed["error"] == answer.error
    assert str(client.service.settings.folder) not in json.dumps(failed)


def test_a_body_of_another_type_is_refused(client: Client) -> None:
    answer = client.ask("POST", "/v1/upscale", b"{}", content_type="application/json")
    assert answer.status == 415
    body, kind = form(b"", "empty.png")
    assert client.ask("POST", "/v1/upscale", body, content_type=kind).status == 422
    assert client.ask("POST", "/v1/upscale", body[:60], content_type=kind).status in (400, 422)


def test_names_cannot_leave_the_folder(client: Client) -> None:
    body, kind = form(picture(), "../../../etc/cron.d/evil.png")
    answer = client.ask("POST", "/v1/jobs?scale=2", body, content_type=kind)
    assert answer.json["name"] == "evil.png"
    for path in ("/v1/jobs/..%2f..%2fetc", "/../pyproject.toml", "/%2e%2e/routes.py", "/..%2froutes.py"):
        assert client.get(path).status == 404


def test_a_client_that_goes_away_ends_its_job(client: Client, held: threading.Event) -> None:
    connection = client.connect()
    connection.request("POST", "/v1/upscale", picture(width=161), {"content-type": "image/png"})
    assert eventually(lambda: any(job.width == 161 for job in client.service.jobs.values()))
    connection.close()
    assert eventually(lambda: all(job.width != 161 for job in client.service.jobs.values()))
    assert client.get("/healthz").json["status"] == "ok"


def test_the_document_has_every_route_and_no_other() -> None:
    described = {
        (path, method.upper())
        for path, operations in document()["paths"].items()
        for method in operations
        if method != "parameters"
    }
    served = {(route.path, method) for route in API for method in route.methods or () if method != "HEAD"}
    assert described == served


def test_the_examples_are_what_is_answered(client: Client) -> None:
    job = client.finished(client.add(picture(".jpg"), "name=cat.jpg&scale=2")["id"])
    assert job.keys() == EXAMPLE_JOB.keys()
    for part in ("options", "input", "output"):
        assert job[part].keys() == EXAMPLE_JOB[part].keys()
    schema = document()["components"]["schemas"]["Job"]
    assert job.keys() == schema["properties"].keys()
    assert client.get("/v1/openapi.json").json == document()


def test_limits_and_counts_are_told(client: Client) -> None:
    info = client.get("/v1/info").json
    assert info["scales"] == [2, 3, 4]
    assert info["limits"]["bytes"] == 100_000_000
    assert b'bgai_jobs_total{state="done"}' in client.get("/v1/metrics").body
    assert client.get("/healthz").json == {"status": "ok", "queued": 0}


def test_unknown_addresses_and_methods_are_json_errors(client: Client) -> None:
    assert client.get("/v1/nothing").json == {"error": "Not Found"}
    assert client.ask("PUT", "/v1/jobs").status == 405


def test_a_restart_finds_finished_jobs_and_does_the_others_anew(serve: Serve) -> None:
    first = serve()
    done = first.finished(first.add(picture(), "scale=2&client=me")["id"])
    result = first.get(done["result"]).body
    job = first.service.jobs[done["id"]]
    job.state = "running"  # as a process that was killed leaves it
    first.service.folder.save(job)
    finished = first.finished(first.add(picture(height=5), "scale=2&client=me")["id"])
    (first.service.settings.folder / ("f" * 32)).mkdir()
    second = serve()
    ids = [each["id"] for each in second.get("/v1/jobs?client=me").json["jobs"]]
    assert ids == [done["id"], finished["id"]]
    assert second.finished(done["id"])["state"] == "done"
    assert second.get(done["result"]).body == result
    assert second.get(finished["result"]).status == 200
    assert not (first.service.settings.folder / ("f" * 32)).exists()
