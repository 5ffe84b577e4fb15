"""The table of what the comparison on a CUDA device has found, and what is said below it."""
import peers

MIB = 1 << 20


def complete(block, work, case, rows):
    """The block with its bars, the rows of its peers and of what is compiled, and which peers are not installed. A peer that
    refused the case has its reason as its row."""
    all_peers = peers.of(work.loss)
    refused = {peer.name: peer.refuses(case.type, case.sizes) for peer in all_peers if peer.is_installed}
    rows = rows + [{"contender": name, "outcome": reason} for name, reason in refused.items() if reason]
    versions = {peer.name: {"version": peer.installed_version} for peer in all_peers if peer.is_installed}
    rows = block["rows"] + [{**row, **versions.get(row["contender"], {})} for row in rows]
    return {**block, "rows": rows, "bars": case.bars, "within": case.within,
            "absent": [peer.name for peer in all_peers if not peer.is_installed]}


def notes_on_peers(works):
    """Notes: which gradients a peer does not compute, and which peers are not installed."""
    all_peers = [peer for work in works for peer in peers.of(work.loss)]
    notes = [f"{peer.name} computes no gradient of {', '.join(peer.constant)}" for peer in all_peers
             if peer.is_installed and peer.constant]
    absent = [f"{peer.name} ({peer.loss})" for peer in all_peers if not peer.is_installed]
    return notes + (["not installed, so not compared with: " + ", ".join(absent)] if absent else [])


def is_measured(block):
    """Whether vlp was measured, if it has the loss at all."""
    return "milliseconds" in block["rows"][0] or block.get("without_vlp", False)


def well(result):
    """Whether vlp was measured in every case that it has: others may run out of memory or fail, vlp may not."""
    return not result["problems"] and all(is_measured(block) for block in result["blocks"])


def number(value):
    return f"{value:,.4f}" if value < 1 else f"{value:,.2f}"


def shape_of(block):
    return " ".join(f"{name}={value}" for name, value in block["sizes"].items())


def times_vlp(row, own):
    """How many times vlp's time a row's is, or None: a peer has vlp's from its own turns."""
    beside = row.get("vlp_milliseconds", own.get("milliseconds"))
    return row["milliseconds"] / beside if "milliseconds" in row and beside is not None else None


def table_rows(block):
    own = block["rows"][0]
    for row in block["rows"]:
        who = f"{row['contender']} {row.get('version', '')}".strip()
        begin = f"| {block['loss']} | {block['type']} | {shape_of(block)} | {who} | "
        memory = f"{row['peak_bytes'] / MIB:,.2f}" if "peak_bytes" in row else ""
        error = f"{row['error']:.1e}" if "error" in row else ""
        slower = share = ""
        if row is not own and times_vlp(row, own) is not None:
            slower = f"{times_vlp(row, own):.2f}"
            if row["peak_bytes"] and "peak_bytes" in own:
                share = f"{100 * own['peak_bytes'] / row['peak_bytes']:.1f} %"
        taken = row.get("outcome", "")
        if "milliseconds" in row:
            taken = f"{number(row['milliseconds'])} ({number(row['least'])} to {number(row['most'])})"
        yield begin + f"{taken} | {slower} | {memory} | {share} | {error} |"


def bar_lines(block):
    """A sentence for each bar of the block."""
    rows = {row["contender"]: row for row in block["rows"]}
    own, begin = block["rows"][0], f"- {block['loss']} {block['type']} {shape_of(block)}, "
    if block["within"] is not None:
        said = f"not measured, {own.get('outcome', '')}"
        if "milliseconds" in own:
            said = f"{number(own['milliseconds'])} ms, {'met' if own['milliseconds'] <= block['within'] else 'missed'}"
        yield begin + f"vlp in {block['within']} ms at most (set for an H200): {said}"
    for contender, bar in block["bars"].items():
        ratio = times_vlp(rows.get(contender, {}), own)
        said = "not measured" if ratio is None else f"{ratio:.2f}, {'met' if ratio >= bar else 'missed'}"
        if contender in block["absent"]:
            said += ", it is not installed"
        yield begin + f"{contender} at least {bar} times vlp's time: {said}"


def markdown(result):
    lines = ["# Losses beside PyTorch on a CUDA device", ""]
    if result["blocks"]:
        one = result["blocks"][0]
        lines += [f"Forward and backward on {one['card']}; {result['date']}. vlp {result['commit']}, {one['compiler']}, "
                  f"products by {one['backend']}; PyTorch {one['pytorch']} (CUDA {one['cuda']}), Python "
                  f"{result['python']}; torch.backends.cuda.matmul.allow_tf32 is {one['allow_tf32']}, "
                  f"allow_bf16_reduced_precision_reduction {one['bf16_reduced_precision_reduction']}. PyTorch in bfloat16 "
                  "runs under autocast, what has a version behind its name is another project's kernel, on bfloat16 as it "
                  "is and compared with vlp's time in turn with it. Median (least to most) in ms, taken in turn, each with "
                  "nothing of it in L2 before. "
                  "Memory above inputs and gradients, MiB: vlp's scratch and what it keeps, PyTorch's peak, both without "
                  "the workspace of cuBLAS. Error: of loss and gradients from float64, the largest, over the largest "
                  "value.", "",
                  "| loss | type | shape | | ms | times vlp's | memory | vlp's share | error |",
                  "|---|---|---|---|---:|---:|---:|---:|---:|"]
    for block in result["blocks"]:
        lines += table_rows(block)
    for said in ([line for block in result["blocks"] for line in bar_lines(block)],
                 [f"- {one}" for one in result["problems"] + result["notes"]]):
        lines += ["", *said] if said else []
    return "\n".join(lines) + "\n"
