"""``push_to_hub``: Trainer and huggingface_hub are real, the hub's server is a stand-in: none is reachable.

The pushes are made in a process of its own: huggingface_hub reads the server's address when it is imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from tests.local_hub import TOKEN, local_hub
from tests.trainer_runs import rows, same, state, trainer

SAVING = {"save_strategy": "steps", "save_steps": 2, "num_train_epochs": 1, "hub_always_push": True}
PROGRAM = """
import json, sys
import torch
from transformers import TrainerCallback
from tests.trainer_runs import rows, trainer

class PushesInBetween(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 3:
            made.push_to_hub("In between")

class Waits(TrainerCallback):  # Trainer sends in the background what lies there by then
    def on_save(self, args, state, control, **kwargs):
        if getattr(made, "push_in_progress", None) is not None:
            made.push_in_progress.wait_until_done()

for name, given in json.loads(sys.argv[1]).items():
    callbacks = [Waits(), PushesInBetween()] if name == "every" else [Waits()]
    made = trainer(name, args=given, callbacks=callbacks, eval_dataset=rows(9, seed=4))
    made.train()
    made.push_to_hub("Done", tags="mine")
    torch.save([made.model.state_dict(), made.attention.state_dict()], name + ".pt")
"""


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """Return the stand-in with all that three runs pushed, and the folder that they ran in."""
    work, root = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("hub")
    runs = {
        "alone": {**SAVING, "eval_strategy": "epoch"},
        "every": {**SAVING, "push_to_hub": True, "hub_strategy": "every_save"},
        "all": {**SAVING, "push_to_hub": True, "hub_strategy": "all_checkpoints"},
    }
    with local_hub(root) as hub:
        own = {
            "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HOME": str(work / "home"), "PYTHONPATH": os.pathsep.join(sys.path),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(runs)],
            cwd=work, env=os.environ | own, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return hub, work


@pytest.mark.parametrize("name", ["alone", "every", "all"])
def test_received_model_is_the_trained_one(name, pushed):
    hub, work = pushed
    folder = hub.root / "someone" / name
    weights, alpha = torch.load(work / f"{name}.pt")
    assert same(state(AutoModelForSequenceClassification.from_pretrained(folder)), weights)
    assert same(load_file(folder / "alpha.safetensors"), alpha)


@pytest.mark.parametrize("name", ["alone", "every", "all"])
def test_card_says_how_the_model_was_made(name, pushed):
    card = ModelCard.load(pushed[0].root / "someone" / name / "README.md")
    assert set(card.data.tags) == {"mine", "agwm", "finetuning", "low-resource", "generated_from_trainer"}
    assert "learning_rate: 0.005" in card.text  # Trainer's own part
    assert card.text.count("## Attention-guided weights mixup") == 1
    assert "Over 7\nmixed weights alpha has mean 0.9" in card.text
    assert "attention_learning_rate: 0.05\n" in card.text and "alpha: rank1\n" in card.text


def test_every_save_sends_the_mixed_weights_of_its_checkpoint(pushed):
    hub, work = pushed
    sent = {message: files for repo, message, files in hub.commits if repo == "someone/every"}
    assert list(sent) == [
        "Training in progress, step 2", "In between", "Training in progress, step 4",
        "Training in progress, step 5", "Done",
    ]  # fmt: skip
    for step in (2, 4, 5):
        checkpoint = work / "every" / f"checkpoint-{step}" / "model.safetensors"
        assert sent[f"Training in progress, step {step}"]["model.safetensors"] == checkpoint.read_bytes()
    assert (
        len({files["model.safetensors"] for files in sent.values()}) == 4
    )  # the last step is that of "Done"


def test_nothing_of_the_search_is_sent_but_with_a_checkpoint(pushed):
    hub, _ = pushed
    model = {"README.md", "alpha.safetensors", "config.json", "model.safetensors", "training_args.bin"}
    for name in ("alone", "every"):
        assert {
            path for repo, _, files in hub.commits if repo == f"someone/{name}" for path in files
        } == model
    of_all = {path for repo, _, files in hub.commits if repo == "someone/all" for path in files}
    assert {path for path in of_all if "/" not in path} == model
    assert {path for path in of_all if "search" in path} == {
        f"checkpoint-{step}/agwm_search.safetensors" for step in (2, 4, 5)
    }
    assert not any(TOKEN.encode() in content for _, _, files in hub.commits for content in files.values())


def test_received_checkpoint_is_gone_on_from(pushed, tmp_path):
    hub, work = pushed
    again = trainer(tmp_path, args={"num_train_epochs": 1}, eval_dataset=rows(9, seed=4))
    again.train(resume_from_checkpoint=str(hub.root / "someone" / "all" / "checkpoint-2"))
    assert same(state(again.model), torch.load(work / "all.pt")[0])
