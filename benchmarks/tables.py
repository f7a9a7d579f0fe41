"""The tables of the pages, made from ``benchmarks/results``.

python benchmarks/tables.py            print them
python benchmarks/tables.py --write    put them into README.md, benchmarks/README.md and docs/
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from statistics import mean, median
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
TARGETS = (ROOT / "README.md", HERE / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
SPLITS = {
    "warm": "known items",
    "cold-item": "cold items",
    "few-shot-item": "5 ratings",
    "cold-user": "cold users",
}


def results(name: str) -> dict[str, Any]:
    """One result file."""
    return json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))


def in_short() -> str:
    """The lines of the quality table that a newcomer needs."""
    return quality(
        "SVD",
        "SVD, tuned",
        "ridge on genres and year",
        "LLMTokensContent",
        "LLMTokensSVD",
        "LLMTokensSVD, genres and year",
        "LLMTokensSVD, shuffled tokens",
        "LLMTokensSVD, no tokens",
        "LLMTokensBPMF",
    )


def quality(*names: str) -> str:
    """RMSE by algorithm and split, and the seconds of a warm fit; of some algorithms, or of all."""
    rows = [row for row in results("quality")["summary"] if row["measure"] == "rmse"]
    lines = ["| RMSE | " + " | ".join(SPLITS.values()) + " | fit, s |", "| --- |" + " ---: |" * 5]
    for name in names or dict.fromkeys(row["algorithm"] for row in rows):
        mine = {row["split"]: row for row in rows if row["algorithm"] == name}
        means = [f"{mine[split]['mean']:.4f}".lstrip("0") for split in SPLITS]
        lines.append(f"| {name} | " + " | ".join(means) + f" | {mine['warm']['fit_time']:.2f} |")
    return "\n".join(lines)


def coverage() -> str:
    """Share of held-out ratings inside the predictive intervals of LLMTokensBPMF."""
    rows = [row for row in results("quality")["summary"] if row["algorithm"] == "LLMTokensBPMF"]
    mine = {(row["split"], row["measure"]): row["mean"] for row in rows}
    lines = ["| inside | " + " | ".join(SPLITS.values()) + " |", "| --- |" + " ---: |" * 4]
    for level in ("50%", "80%", "95%"):
        shares = [f"{mine[split, f'coverage {level}']:.1%}" for split in SPLITS]
        lines.append(f"| {level} | " + " | ".join(shares) + " |")
    return "\n".join(lines)


def speed() -> str:
    """Seconds, and how many times faster."""
    found = results("speed")
    s = found["seconds"]
    return "\n".join(
        [
            f"| {found['n_ratings']:,} ratings, CPU seconds | Surprise | llmtokens | |",
            "| --- | ---: | ---: | ---: |",
            f"| `fit`, 100 factors, 20 epochs | {s['surprise.SVD fit']:.2f} "
            f"| {s['LLMTokensSVD fit']:.2f} | {found['fit_ratio']:.1f}x |",
            "| the same on two threads, on the clock "
            f"| {s['surprise.SVD fit, clock']:.2f} "
            f"| {s['LLMTokensSVD fit on two threads, clock']:.2f} "
            f"| {found['two_threads_ratio']:.1f}x |",
            f"| `test`, {found['n_test']:,} pairs | {s['AlgoBase test']:.2f} "
            f"| {s['LLMTokensSVD test']:.2f} | {found['test_ratio']:.1f}x |",
        ]
    )


def peers() -> str:
    """RMSE of other libraries on the same folds."""
    found = results("peers")
    head = f"RMSE, {found['folds']} folds"
    lines = [f"| {head} | " + " | ".join(SPLITS.values()) + " |", "| --- |" + " ---: |" * 4]
    for row in found["peers"]:
        of = row["rmse"]
        means = [f"{mean(of[split]):.4f}".lstrip("0") if split in of else "" for split in SPLITS]
        lines.append(f"| {row['name']} | " + " | ".join(means) + " |")
    return "\n".join(lines)


def ranking() -> str:
    """NDCG@10 over the whole catalogue, and among cold items."""
    found = results("ranking")
    warm, cold = (found["ndcg@10"][split] for split in ("warm", "cold-item"))
    lines = [f"| NDCG@10, {found['folds']} folds | all unseen items | cold items |"]
    lines.append("| --- | ---: | ---: |")
    for name in dict.fromkeys([*warm, *cold]):
        means = [f"{mean(own[name]):.4f}" if name in own else "" for own in (warm, cold)]
        lines.append(f"| {name} | " + " | ".join(m.lstrip("0") for m in means) + " |")
    return "\n".join(lines)


def mostly_unrated() -> str:
    """NDCG@10 where most of the catalogue was never rated."""
    found = results("ranking")["mostly unrated"]
    lines = ["| users | items rated, of all | no unrated item | weight chosen | weight 0.3 |"]
    lines.append("| ---: | ---: | ---: | ---: | ---: |")
    for row in found:
        gains = (row["ndcg@10"][name] for name in ("none", "as chosen", "0.3"))
        told = [f"{mean(x):.3f}".lstrip("0") for x in gains]
        lines.append(f"| {row['users']} | {row['items rated']:,} | " + " | ".join(told) + " |")
    return "\n".join(lines)


def bayes() -> str:
    """What a fit of LLMTokensBPMF costs."""
    found = results("bpmf_speed")
    s = found["seconds"]
    lines = [
        f"| {found['n_ratings']:,} ratings, {found['sweeps']} sweeps, one thread | CPU seconds |",
        "| --- | ---: |",
        f"| myFM | {s['myFM']:.1f} |",
        f"| LLMTokensBPMF | {s['LLMTokensBPMF']:.1f} ({found['ratio']:.1f}x faster) |",
        "",
        "| ratings, generated | CPU seconds a sweep | peak memory, MB |",
        "| ---: | ---: | ---: |",
    ]
    for row in found["growth"]:
        size, seconds, peak = row["n_ratings"], row["seconds_a_sweep"], row["mb_peak"]
        lines.append(f"| {size:,} | {seconds:.3f} | {peak:,.0f} |")
    return "\n".join(lines)


def scaling() -> str:
    """What a fit of LLMTokensBPMF from disk, or on workers, costs."""
    found = results("scaling")
    lines = [
        "| ratings, generated | workers | seconds a sweep | MB to, from a worker | peak MB |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in found["rows"]:
        moved = "" if not row["workers"] else ", ".join(
            f"{row[key] / 2**20:.1f}" for key in ("bytes_to_worker", "bytes_from_worker")
        )  # fmt: skip
        seconds = row["seconds"] if row["workers"] else row["cpu_seconds"]
        peaks = ", ".join(f"{mb:,.0f}" for mb in row["mb"])
        lines.append(
            f"| {row['n_ratings']:,} | {row['workers']} | {seconds:.2f} | {moved} | {peaks} |"
        )
    for row in found["trainset"]:
        lines.append(f"| {row['n_ratings']:,} | Surprise Trainset | | | {row['mb']:,.0f} |")
    far = found["billion"]
    return "\n".join(
        [
            *lines,
            "",
            "By the rates of the largest fit, a billion ratings on 32 machines of one core take, a",
            f"sweep: {far['seconds_of_ratings']:.1f} s for a 32nd of the ratings each; "
            f"{far['seconds_of_links']:.1f} s for the links, whose columns go",
            "from machine to machine in 3 groups, 34 steps of 96; and "
            f"{far['seconds_of_network']:.2f} s to send and sum what is",
            f"exchanged, 5 steps at 10 Gbit/s. 200 sweeps: {far['hours_of_200_sweeps']:.1f} hours.",
        ]
    )


def serving() -> str:
    """Lists for everybody, and questions."""
    lists = results("recommend")
    s, mb, ms = lists["seconds"], lists["peak_mb"], lists["ms"]
    return "\n".join(
        [
            f"| {lists['n_users']} users, one thread | Surprise | llmtokens |",
            "| --- | ---: | ---: |",
            f"| top {lists['n']} for everybody, seconds | {s['recipe']:.1f} "
            f"| {s['recommend_all']:.2f} ({lists['ratio']:.0f}x) |",
            f"| the same, peak MB | {mb['recipe']:,.0f} | {mb['recommend_all']:.0f} |",
            f"| `ask`, ms | | {ms['ask']:.0f} |",
        ]
    )


def http() -> str:
    """What a client waits for a served model."""
    found = results("serving")
    where = f"{found['machine']['cores']} cores, load {found['load'][0]:.0f} before"
    lines = [
        f"| 16 clients at once, {where}; ms | half within | 95 of 100 within | CPU of the server |",
        "| --- |" + " ---: |" * 3,
    ]
    for name in ("LLMTokensSVD", "LLMTokensSVD, int8", "LLMTokensEASE"):
        kinds = {"recommend": "`recommend`", "ask": "`ask`", "ask_two": "`ask` for two things"}
        for kind, label in kinds.items():
            ms, cpu = found[name][f"{kind}_ms"], found[name][f"{kind}_cpu_ms"]
            lines.append(f"| {name}, {label} | {ms['p50']:.0f} | {ms['p95']:.0f} | {cpu:.1f} |")
    return "\n".join(lines)


def newcomers() -> str:
    """What learning a user without a refit takes, and what it is worth."""
    found = results("foldin")
    lines = [
        f"| users with {found['given']} ratings | `fold_in`, CPU ms | RMSE: unseen | `fold_in` "
        "| `partial_fit` | refit |",
        "| --- |" + " ---: |" * 5,
    ]
    for name, row in found["models"].items():
        errors = (row[key] for key in ("never seen", "fold_in", "partial_fit", "refit"))
        shown = " | ".join(f"{error:.4f}".lstrip("0") for error in errors)
        lines.append(f"| {name} | {row['fold_in, ms']:.1f} | {shown} |")
    return "\n".join(lines)


def jobs() -> str:
    """What two processes give to ``compare``."""
    found = results("compare_jobs")
    lines = ["| `compare`, 70 trials | wall seconds | CPU seconds |", "| --- | ---: | ---: |"]
    for n in ("1", "2"):
        wall, cpu = (median(found[key][n]) for key in ("seconds", "cpu_seconds"))
        lines.append(f"| `n_jobs={n}` | {wall:.0f} | {cpu:.0f} |")
    return "\n".join(lines)


def memory() -> str:
    """What ``fit`` takes, as a multiple of the ratings."""
    lines = ["| memory of `fit` / ratings | 1 million | 10 million |", "| --- | ---: | ---: |"]
    for name, rows in results("memory")["algorithms"].items():
        lines.append(f"| {name} | " + " | ".join(f"{row['ratio']:.1f}" for row in rows) + " |")
    return "\n".join(lines)


def times() -> str:
    """RMSE with and without times, by what of them is known."""
    rows, algorithms = results("times")["summary"], ("LLMTokensBPMF", "LLMTokensSVD")
    lines = ["| RMSE | " + " | ".join(algorithms) + " |", "| --- |" + " ---: |" * 2]
    for split, name in (*SPLITS.items(), ("TimeSplit", "after a moment in time")):
        for when, known in (
            ("none", "both sides"),
            ("times", "both sides"),
            ("times", "past only"),
            ("shuffled times", "both sides"),
        ):
            found = {
                row["algorithm"]: f"{row['rmse']:.4f}".lstrip("0")
                for row in rows
                if (row["split"], row["timestamps"], row["known"]) == (split, when, known)
            }
            told = "times" if split == "TimeSplit" else f"times, {known}"
            said = {"none": "no times", "times": told}.get(when, when)
            if found:
                shown = " | ".join(found.get(algorithm, "") for algorithm in algorithms)
                lines.append(f"| {name}: {said} | {shown} |")
    return "\n".join(lines)


WHO = (
    ("cold-user", "new users"),
    ("three ratings", "users with three ratings"),
    ("warm", "known users"),
)


def user_text() -> str:
    """RMSE with and without what users say of themselves, and with what others say."""
    found = results("users")
    kinds = ("no text of users", "text of users", "shuffled")
    lines = ["| RMSE | none | text | text of others |", "| --- |" + " ---: |" * 3]
    for split, who in WHO:
        means = {
            row["algorithm"]: _short(row["mean"])
            for row in found["written, short"]
            if (row["split"], row["measure"]) == (split, "rmse")
        }
        for name in dict.fromkeys(algorithm.split(", ")[0] for algorithm in means):
            shown = " | ".join(means[f"{name}, {kind}"] for kind in kinds)
            lines.append(f"| {who}: {name} | {shown} |")
    return "\n".join(lines)


def planted_users() -> str:
    """RMSE for new users whose tokens are their taste."""
    means = {row["algorithm"]: row["mean"] for row in results("users")["planted"]}
    lines = ["| | no tokens of users | tokens |", "| --- | ---: | ---: |"]
    for name in dict.fromkeys(algorithm.split(", ")[0] for algorithm in means):
        shown = " | ".join(_short(means[f"{name}, {kind}"]) for kind in ("no tokens", "tokens"))
        lines.append(f"| `{name}` | {shown} |")
    return "\n".join(lines)


def few_user_texts() -> str:
    """RMSE of LLMTokensBPMF for the few users who have a text."""
    rows = results("users")["written, few"]
    means = {(row["split"], row["algorithm"]): _short(row["mean"]) for row in rows}
    kinds = list(dict.fromkeys(algorithm for _, algorithm in means))
    named = [kind.removeprefix("LLMTokensBPMF, ") for kind in kinds]
    lines = ["| RMSE | " + " | ".join(named) + " |", "| --- |" + " ---: |" * len(kinds)]
    for split, who in WHO:
        lines.append(f"| {who} | " + " | ".join(means[split, kind] for kind in kinds) + " |")
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:.4f}".lstrip("0")


def encoders() -> str:
    """What each encoder costs, and what it is worth."""
    found = results("encoders")["encoders"]
    lines = [
        "| | texts a second | RMSE, cold | `ask` | with a user | tokens, MB | embeddings, MB |",
        "| --- |" + " ---: |" * 6,
    ]
    for name, row in found.items():
        rate = f"{row['texts_a_second']:,.0f}" if "texts_a_second" in row else ""
        asked = [f"{row[key]:.3f}".lstrip("0") if key in row else ""
                 for key in ("ask", "ask_with_user")]  # fmt: skip
        sizes = [f"{row[key] / 1e6:.1f}" for key in ("tokens_bytes", "embeddings_bytes")]
        error = f"{mean(row['rmse_cold']):.4f}".lstrip("0")
        lines.append(f"| {name} | {rate} | {error} | " + " | ".join([*asked, *sizes]) + " |")
    return "\n".join(lines)


def fine_tuning() -> str:
    """RMSE on cold items, with the frozen encoder and with one that learned from ratings."""
    lines = ["| items, ratings it learns from | frozen | tuned |", "| ---: | ---: | ---: |"]
    for row in results("fine_tuning")["curve"]:
        errors = " | ".join(_short(row[kind]) for kind in ("frozen", "tuned"))
        lines.append(f"| {row['items']:,}, {row['ratings']:,} | {errors} |")
    return "\n".join(lines)


def reducer() -> str:
    """RMSE on cold items by how much the axes of tokens follow the ratings."""
    found = results("fine_tuning")["reducer"]
    shares = list(next(iter(found.values())))
    lines = ["| c | " + " | ".join(shares) + " |", "| --- |" + " ---: |" * len(shares)]
    lines += [
        f"| {name} | " + " | ".join(_short(row[share]) for share in shares) + " |"
        for name, row in found.items()
    ]
    return "\n".join(lines)


def more_text() -> str:
    """Cold items with tags as a text of their own."""
    found = results("encoders")["rmse_cold_more_text"]
    lines = ["| | RMSE, cold items |", "| --- | ---: |"]
    lines += [f"| {name} | {mean(row):.4f} |".replace(" 0.", " .") for name, row in found.items()]
    return "\n".join(lines)


TABLES = {
    "encoders": encoders,
    "more text": more_text,
    "fine tuning": fine_tuning,
    "reducer": reducer,
    "user text": user_text,
    "planted users": planted_users,
    "few user texts": few_user_texts,
    "times": times,
    "quality": quality,
    "quality in short": in_short,
    "bayes": bayes,
    "scaling": scaling,
    "jobs": jobs,
    "serving": serving,
    "http": http,
    "newcomers": newcomers,
    "coverage": coverage,
    "speed": speed,
    "peers": peers,
    "ranking": ranking,
    "mostly unrated": mostly_unrated,
    "memory": memory,
}


def filled(text: str) -> str:
    """A page with what stands between ``<!-- table: x -->`` and ``<!-- end -->`` made anew."""

    def table(match: re.Match[str]) -> str:
        return f"<!-- table: {match[1]} -->\n{TABLES[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- table: ([\w ]+) -->\n.*?<!-- end -->", table, text, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    if parser.parse_args().write:
        for path in TARGETS:
            path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print("\n\n".join(table() for table in TABLES.values()))


if __name__ == "__main__":
    main()
