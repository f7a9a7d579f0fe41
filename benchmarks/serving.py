"""A fitted model from its file: how soon it answers on the command line, and over HTTP.

``llmtokens recommend`` and ``explain`` are timed as whole processes: seconds of wall and of CPU,
and peak memory, medians; with ``--before`` beside those of another checkout, whose own
models it makes. Then the server is started on this machine and asked by 16 clients at once, which
share its cores: milliseconds of ``/recommend`` and ``/ask`` (a new question each time, of one wish
and of two that are joined by "and"), and of the server's CPU for each, with questions encoded in
float32 and in whole numbers, memory over ten thousand requests, feedback that was acknowledged
before a kill -9, and a thousand malformed requests. The load of the machine is written down:
seconds of CPU tell more where it is busy.

    python benchmarks/serving.py --data ml-latest-small --before ../older-checkout
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # starts are of an installed package

import http.client
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

from common import load, parser, save

HERE = Path(__file__).resolve().parents[1]
CODE = "from llmtokens.cli import main; main()"
CLIENTS = 16
ALGORITHMS = ("LLMTokensEASE", "LLMTokensSVD")


def command(root: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """The command line of a checkout, and its environment."""
    return [sys.executable, "-c", CODE, *arguments], {**os.environ, "PYTHONPATH": str(root)}


def carry_out(root: Path, *commands: list[str]) -> None:
    """Commands of a checkout, one after the other, in silence."""
    for arguments in commands:
        line, environment = command(root, *arguments)
        subprocess.run(line, env=environment, check=True, stdout=subprocess.DEVNULL)


def models(root: Path, data: str, folder: Path) -> dict[str, Path]:
    """Models of a checkout, made by its own command line."""
    made = {}
    tokens = str(folder / "tokens")
    carry_out(
        root,
        ["embed", data, "-o", tokens],
        *(["fit", data, "--tokens", tokens, "--algo", name, "-o", str(folder / name)]
          for name in ALGORITHMS),
    )  # fmt: skip
    for name in ALGORITHMS:
        made[name] = folder / name
    return made


def in_whole_numbers(data: str, folder: Path) -> Path:
    """A model whose texts, and the questions it is asked, are encoded in whole numbers."""
    tokens, made = str(folder / "tokens in whole numbers"), folder / "LLMTokensSVD, int8"
    carry_out(
        HERE,
        ["embed", data, "--precision", "int8", "-o", tokens],
        ["fit", data, "--tokens", tokens, "--algo", "LLMTokensSVD", "-o", str(made)],
    )
    return made


def process(root: Path, *arguments: str) -> dict[str, float]:
    """Seconds and peak memory of a whole process."""
    line, environment = command(root, *arguments)
    start = time.perf_counter()
    child = subprocess.Popen(line, env=environment, stdout=-3, stderr=-3)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = status
    assert status == 0, line
    wall = time.perf_counter() - start
    return {"wall_s": wall, "cpu_s": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1e3}


def starts(roots: dict[str, tuple[Path, dict[str, Path]]], repeats: int) -> dict[str, Any]:
    """Medians, the checkouts by turns."""
    found: dict[str, Any] = {}
    for name in ALGORITHMS:
        for asked in (["recommend", "1"], ["explain", "1", "318"]):
            times: dict[str, list[dict[str, float]]] = {label: [] for label in roots}
            for turn in range(repeats + 1):
                for label, (root, files) in roots.items():
                    taken = process(root, asked[0], str(files[name]), *asked[1:])
                    if turn:  # the first one compiles and fills caches
                        times[label].append(taken)
            for label, taken_ in times.items():
                row = {key: median(one[key] for one in taken_) for key in taken_[0]}
                found[f"{name} {asked[0]}, {label}"] = row
                print(
                    f"{name:<14} {asked[0]:<10} {label:<7}",
                    {k: round(v, 2) for k, v in row.items()},
                )
    return found


class Server:
    """A server in a process of its own."""

    def __init__(self, path: Path) -> None:
        line, environment = command(HERE, "serve", str(path), "--port", "0")
        self.process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().split()[0].removeprefix("http://")

    def ask(self, connection: http.client.HTTPConnection, path: str, body: Any = None) -> Any:
        """One request; status and body."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        content = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        connection.request("GET" if body is None else "POST", path, content, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.address, timeout=120)

    def resident_mb(self) -> float:
        """Memory of the process now."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1e3

    def cpu_s(self) -> float:
        """Seconds that the process has worked."""
        after_name = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self, how: int = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.wait()


def crowd(server: Server, paths: list[str]) -> list[float]:
    """Milliseconds of each request, by 16 clients at once."""
    waiting, taken, lock = iter(paths), [], threading.Lock()

    def client() -> None:
        connection = server.connection()
        while True:
            with lock:
                path = next(waiting, None)
            if path is None:
                return
            start = time.perf_counter()
            status, _ = server.ask(connection, path)
            taken.append(1e3 * (time.perf_counter() - start))
            assert status == 200, (path, status)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(taken)


def served(path: Path, users: list[Any], requests: int) -> dict[str, Any]:
    """Latencies and memory."""
    server, chance = Server(path), random.Random(0)
    nouns = ["robots", "storms", "chess", "lawyers", "ghosts", "sharks", "nuns", "spies"]
    lists = [f"/recommend?user={chance.choice(users)}" for _ in range(requests)]

    def questions(join: str) -> list[str]:
        texts = (
            f"a film about {k} {chance.choice(nouns)} {join} {chance.choice(nouns)}"
            for k in range(400)
        )
        return [f"/ask?text={quote(text)}&user={chance.choice(users)}" for text in texts]

    wishes, of_two = questions("against"), questions("and")
    crowd(server, lists[:64] + wishes[:32])  # loads what the first ones need
    found: dict[str, Any] = {}
    asked = {"recommend": lists[:1000], "ask": wishes, "ask_two": of_two}
    for name, paths in asked.items():
        start, worked = time.perf_counter(), server.cpu_s()
        taken = crowd(server, paths)
        found[f"{name}_cpu_ms"] = 1e3 * (server.cpu_s() - worked) / len(paths)
        found[f"{name}_ms"] = {"p50": median(taken), "p95": taken[int(0.95 * len(taken))]}
        found[f"{name}_per_s"] = len(paths) / (time.perf_counter() - start)
    found["memory_mb"] = {"after 1,000": server.resident_mb()}
    crowd(server, lists)
    found["memory_mb"][f"after {len(lists) + 1000:,}"] = server.resident_mb()
    server.stop()
    return found


def killed(path: Path, items: list[Any]) -> dict[str, int]:
    """Feedback that was acknowledged before a kill -9, and what of it is there afterwards."""
    server, thanked = Server(path), []

    def client(k: int) -> None:
        connection = server.connection()
        for item in items:
            body = {"user": f"new {k}", "item": item, "rating": 4}
            try:
                if server.ask(connection, "/feedback", body)[0] == 200:
                    thanked.append((f"new {k}", item))
            except (OSError, http.client.HTTPException):
                return

    threads = [threading.Thread(target=client, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    while len(thanked) < 100:
        time.sleep(0.01)
    server.stop(signal.SIGKILL)
    for thread in threads:
        thread.join()
    server = Server(path)
    connection, known = server.connection(), set()
    for user in {user for user, _ in thanked}:
        _, body = server.ask(connection, f"/ratings?user={quote(user)}")
        known |= {(user, line["item"]) for line in json.loads(body)}
    server.stop()
    return {"acknowledged": len(thanked), "lost": len(set(thanked) - known)}


def malformed(path: Path, n: int = 1000) -> dict[str, int]:
    """Statuses of requests that make no sense."""
    server, chance = Server(path), random.Random(1)
    connection, statuses = server.connection(), {}
    strange = [
        "",
        "%00",
        "nan",
        "-1",
        "1e999",
        "9" * 4000,
        "%ED%A0%80",
        "[]",
        "%F0%9F%8E%AC",
        "a" * 3000,
    ]
    bodies = [b"", b"{", b"[" * 50000, b"null", b"\xff", b'{"user": 1, "item": 1, "rating": NaN}',
              b'{"user": "\\ud800", "item": 1}', b'{"user": {}}', b"9" * 5000,
              b"x" * 70000]  # fmt: skip
    for k in range(n):
        if k % 2:
            route = chance.choice(["recommend", "ask", "similar", "explain", "ratings", "nothing"])
            names = chance.sample(["user", "item", "text", "n", "diversity", "by"], 3)
            query = "&".join(f"{name}={chance.choice(strange)}" for name in names)
            status, _ = server.ask(connection, f"/{route}?{query}")
        else:
            status, _ = server.ask(
                connection, chance.choice(["/feedback", "/forget"]), chance.choice(bodies)
            )
        statuses[status] = statuses.get(status, 0) + 1
    server.stop()
    assert max(statuses) < 500, statuses
    return {str(status): statuses[status] for status in sorted(statuses)}


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--before", type=Path, help="another checkout, to stand beside")
    arguments.add_argument("--requests", type=int, default=9000)
    arguments.add_argument("--repeats", type=int, default=5, help="of each start; 0: none")
    options = arguments.parse_args()
    data = load(options.data)
    users = data.ratings["user"].unique().tolist()
    items = data.ratings["item"].value_counts().index[:200].tolist()
    with tempfile.TemporaryDirectory() as folder:
        roots = {}
        for label, root in (("before", options.before), ("now", HERE)):
            if root is not None:
                own = Path(folder) / label
                own.mkdir()
                roots[label] = (
                    root.resolve(),
                    models(root.resolve(), str(Path(options.data).resolve()), own),
                )
        results: dict[str, Any] = {
            "data": data.name, "repeats": options.repeats, "load": os.getloadavg(),
        }  # fmt: skip
        results["file_mb"] = {f"{name}, {label}": files[name].stat().st_size / 1e6
                              for label, (_, files) in roots.items() for name in files}  # fmt: skip
        if options.repeats:
            results["start"] = starts(roots, options.repeats)
        whole = in_whole_numbers(str(Path(options.data).resolve()), Path(folder) / "now")
        for name, path in (roots["now"][1] | {"LLMTokensSVD, int8": whole}).items():
            results[name] = served(path, users, options.requests)
            print(name, json.dumps(results[name]))
        path = roots["now"][1]["LLMTokensSVD"]
        results["kill -9"] = killed(path, items)
        results["malformed"] = malformed(path)
    results["load_after"] = os.getloadavg()
    print(results["file_mb"], results["kill -9"], results["malformed"])
    print(save("serving", results))


if __name__ == "__main__":
    main()
