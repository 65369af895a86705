"""Which test provokes which fault for real; and what the package never does, whatever it is given.

| fault | what it is |
|---|---|
| F1 | kill -9 in mid-extraction |
| F2 | the last line of a manifest torn |
| F3 | an .npy cut anywhere |
| F4 | a flipped bit, bytes appended |
| F5 | a file replaced while it is mapped |
| F6 | a full disk, a limit of file size |
| F7 | arrays in another order, byte order or type |
| F8 | empty audio, or less than a window |
| F9 | a NaN or infinite sample |
| F10 | truncated media of any container |
| F11 | corrupt, empty or misnamed media in a batch |
| F12 | antiphase stereo, integers, float64, two dimensions |
| F13 | ids that climb, are reserved, too long, or differ in case or Unicode form alone |
| F14 | members of an archive that climb out of a folder: none is ever unpacked |
| F15 | a pickle in an .npy, .pt, shard or baseline |
| F16 | hostile names and values of parameters |
| F17 | a kernel that is killed, hangs, leaves early or does not exist; a forged record |
| F18 | two writers of one clip, one manifest, one file |
| F19 | an old store, other weights or another spec |
| F20 | a baseline that hides a fault |
| F21 | a shard cut between samples |
| F22 | python -O, folders that are read-only, other locales, odd paths |
| F23 | no network, one that never answers, a torn download |
| F24 | a tail of less than a mel frame past 30 s |
"""

import ast
import multiprocessing
from pathlib import Path

import pytest

import musetools
from musetools.files import write_whole

TESTS, PACKAGE = Path(__file__).parent, Path(musetools.__file__).parent
DAMAGE, WRITING = "train/test_store_damage.py", "train/test_store_writing.py"
STORE, RUNNER, WEIGHTS = "train/test_store.py", "lab/regression/test_runner.py", "features/test_weights.py"
FAULTS = {
    "F1": {
        "train/test_many_files.py": ["test_killed_five_times_and_resumed"],
        WRITING: ["test_killed_at_any_step", "test_killed_while_replacing", "test_killed_while_merging"],
    },
    "F2": {DAMAGE: ["test_a_torn_last_line_costs_its_clip_alone", "test_a_torn_line_of_a_clip_that_was_replaced"]},
    "F3": {DAMAGE: ["test_another_size_is_refused_when_opened", "test_a_bad_clip_is_put_aside_and_made_again"]},
    "F4": {DAMAGE: ["test_other_numbers_are_found_by_verify", "test_every_bit_of_a_header_is_watched"]},
    "F5": {
        STORE: ["test_a_reader_keeps_what_was_replaced"],
        "features/test_features.py": ["test_whoever_has_the_old_file_mapped_keeps_it"],
    },
    "F6": {
        WRITING: ["test_a_full_disk", "test_no_room_for_a_clip", "test_no_room_for_a_line"],
        "train/test_many_files.py": ["test_a_file_system_that_is_full"],
        "test_files.py": ["test_no_room_for_the_file"],
        RUNNER: ["test_a_disk_that_is_full"],
    },
    "F7": {"test_files.py": ["test_blocks_in_any_layout_are_normalised"], STORE: ["test_rows_in_any_layout"]},
    "F8": {
        "features/test_features.py": ["test_too_short_is_an_error_that_names_the_file"],
        "audio/test_audio_faults.py": ["test_an_empty_array", "test_a_file_without_samples"],
    },
    "F9": {"audio/test_audio_faults.py": ["test_a_sample_that_is_not_finite", "test_the_first_of_several_is_named"]},
    "F10": {
        "audio/test_audio_faults.py": ["test_a_truncated_file"],
        "audio/test_timeline.py": ["test_half_a_file_is_truncated"],
        "fuzz/test_fuzz_media.py": ["test_media"],
    },
    "F11": {
        "train/test_corpus.py": ["test_the_good_are_there_and_the_bad_are_told"],
        "check/test_audit.py": ["test_a_batch_goes_on_after_bad_files"],
        "test_worker.py": ["test_extract_survives", "test_check_survives"],
    },
    "F12": {
        "audio/test_audio_faults.py": ["test_antiphase", "test_arrays_that_are_no_audio"],
        "audio/test_load.py": ["test_integers_are_scaled_by_their_range"],
    },
    "F13": {
        STORE: ["test_ids_that_are_refused", "test_every_id_is_refused_or_a_plain_file_of_its_own"],
        "train/test_nothing_lost.py": ["test_names_that_windows_reserves"],
        DAMAGE: ["test_two_lines_that_name_one_file"],
    },
    "F14": {
        "test_faults.py": ["test_what_the_package_never_does"],
        STORE: ["test_a_manifest_that_climbs_out_of_its_folder"],
    },
    "F15": {
        DAMAGE: ["test_a_pickle_in_an_npy_is_not_run"],
        WEIGHTS: ["test_a_payload_in_a_pt_is_refused", "test_a_payload_in_a_hugging_face_folder_is_refused"],
        "train/test_layouts.py": [
            "test_a_pickle_in_a_frame_file_is_not_run",
            "test_a_pickle_in_an_embedding_is_not_run",
        ],
        "train/test_shards.py": ["test_a_pickle_in_a_shard_is_not_run"],
        "recipes/test_made.py": ["test_a_pickle_is_not_run"],
        "lab/regression/test_baselines.py": ["test_an_array_with_a_pickle_in_it"],
    },
    "F16": {RUNNER: ["test_a_parameter_is_refused_before_a_kernel_starts", "test_a_name_that_carries_code"]},
    "F17": {
        RUNNER: [
            "test_a_run_that_ends_early",
            "test_a_cell_that_hangs_and_will_not_be_interrupted",
            "test_a_kernel_that_does_not_exist",
            "test_a_parameters_cell_that_declares_nothing",
        ],
        "lab/test_record.py": ["test_a_forged_record_is_refused"],
    },
    "F18": {
        WRITING: ["test_two_processes_add_at_once", "test_two_processes_add_the_same_clips"],
        "train/test_many_files.py": ["test_two_at_once_share_the_work"],
        "test_faults.py": ["test_two_writers_of_one_file"],
    },
    "F19": {
        STORE: ["test_another_encoder_is_refused"],
        "train/test_corpus.py": ["test_a_store_of_another_making_is_refused_at_once"],
    },
    "F20": {
        "lab/regression/test_baselines.py": [
            "test_a_baseline_that_would_hide_a_fault_is_refused",
            "test_runs_with_nan",
        ],
        "lab/regression/test_suite.py": ["test_a_baseline_that_hides_faults_could_not_run"],
    },
    "F21": {"train/test_shards.py": ["test_a_lost_sample_is_noticed"]},
    "F22": {
        "test_import.py": ["test_python_without_asserts_refuses_the_same", "test_a_locale_that_is_not_utf8"],
        WRITING: ["test_a_read_only_folder", "test_a_disk_that_was_mounted_read_only"],
        RUNNER: ["test_parameters_arrive_as_they_were_given_in_a_folder_of_any_name"],
        "lab/regression/test_suite.py": ["test_reports_go_to_a_folder_of_any_name"],
        "train/test_corpus.py": ["test_a_name_that_is_not_utf8_fails_alone"],
    },
    "F23": {
        WEIGHTS: ["test_a_network_that_never_answers_is_given_up", "test_a_torn_download_is_not_used"],
        "features/test_published.py": ["test_without_any_all_ways_out_are_named"],
    },
    "F24": {"features/test_features.py": ["test_every_boundary_follows_the_published_rule"]},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_a_test(fault):
    assert f"| {fault} |" in __doc__
    for file, names in FAULTS[fault].items():
        tree = ast.parse((TESTS / file).read_text("utf-8"))
        assert set(names) <= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_there_are_24_faults():
    assert list(FAULTS) == [f"F{i + 1}" for i in range(24)]


# --- two writers


def write_often(path: Path, letter: bytes) -> None:
    for _ in range(20):
        write_whole(path, letter * 100_000)


def test_two_writers_of_one_file(tmp_path):
    """Whoever reads meanwhile has what one of them wrote, whole; nothing else is left."""
    path, context = tmp_path / "out.ipynb", multiprocessing.get_context("spawn")
    write_whole(path, b"a" * 100_000)
    writers = [context.Process(target=write_often, args=(path, letter)) for letter in (b"a", b"b")]
    for writer in writers:
        writer.start()
    reads = 0
    while any(writer.is_alive() for writer in writers):
        assert path.read_bytes() in (b"a" * 100_000, b"b" * 100_000)
        reads += 1
    assert reads
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


# --- what is never done

NEVER = {
    "eval",
    "exec",
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "marshal.load",
    "marshal.loads",
    "joblib.load",
}
ARCHIVES = {"extract", "extractall", "unpack_archive"}
PICKLES = {"pickle.load", "pickle.loads", "pickle.Unpickler"}
PIPES = {"musetools/worker.py"}  # a pipe between two processes of ours, see SECURITY.md


def faults_of(tree: ast.Module, name: str) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            found.append("assert, which python -O leaves out")
        if not isinstance(node, ast.Call):
            continue
        called, given = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
        if called in NEVER or (called in PICKLES and name not in PIPES) or given.get("shell", "False") != "False":
            found.append(called)
        if isinstance(node.func, ast.Attribute) and node.func.attr in ARCHIVES:
            found.append(called)
        if called == "torch.load" and given.get("weights_only") != "True":
            found.append("torch.load without weights_only=True")
        if given.get("allow_pickle", "False") != "False":
            found.append("allow_pickle")
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_the_package_never_does(path):
    """No pickle is loaded, no shell is called, no archive unpacked, no text run, and no check is an assert."""
    name = path.relative_to(PACKAGE.parent).as_posix()
    assert faults_of(ast.parse(path.read_text("utf-8")), name) == []


@pytest.mark.parametrize(
    "line",
    [
        *("eval(x)", "pickle.load(f)", "run(x, shell=True)", "torch.load(f)", "torch.load(f, weights_only=False)"),
        *("np.load(f, allow_pickle=True)", "tarfile.open(f).extractall()", "assert x"),
    ],
)
def test_it_would_be_seen(line):
    assert faults_of(ast.parse(line), "musetools/x.py")
