"""Attention-guided weights mixup as one Betty program: weights_mixup.py [agwm|darts] [seed] [steps]."""

import sys

from betty.configs import Config, EngineConfig
from betty.engine import Engine
from betty.problems import ImplicitProblem
from torch.optim import Adam
from torch.utils.data import DataLoader

import agwm
from agwm.data import DynamicPadding, encode, load_task, split_train
from agwm.evaluation.predictions import evaluate
from agwm.models.pretrained import load_pretrained


class TaskWeights(ImplicitProblem):  # min over W of L(alpha * W + (1 - alpha) * W0), on the inner split
    def training_step(self, batch):
        return self.module(**batch).loss  # inject() makes every call of the model use the mixed weights


class Attention(ImplicitProblem):  # min over alpha of the same loss, on the outer split
    def training_step(self, batch):
        return self.W.module(**batch).loss

    def param_callback(self):
        self.module.project_()  # alpha stays in [0, 1]


def build(kind, mixup, loaders, config):
    adams = Adam(mixup.model.parameters(), 1e-4), Adam(mixup.attention.parameters(), 1e-2)
    inner = TaskWeights("W", Config(type=kind), mixup.model, adams[0], None, loaders[0])
    outer = Attention("alpha", Config(retain_graph=True), mixup.attention, adams[1], None, loaders[1])
    return Engine([outer, inner], config, {"u2l": {outer: [inner]}, "l2u": {inner: [outer]}})


def main(kind="agwm", seed=1017, steps=40):
    data, seed = load_task("acceptability"), int(seed)
    loaded = load_pretrained("minilm", data.task.label_names, seed)
    mixup, pad = agwm.inject(loaded.model, seed=seed), DynamicPadding(loaded.tokenizer)
    rows = encode(data.train.select(range(300)), loaded.tokenizer, data.task)
    loaders = [DataLoader(rows.select(i), 16, True, collate_fn=pad) for i in split_train(300, seed=seed)]
    build(kind, mixup, loaders, EngineConfig(train_iters=int(steps))).run()
    moved = sum(1 - mixup.alpha(name).mean().item() for name in mixup.names) / len(mixup.names)
    model, test = mixup.merge(), encode(data.test, loaded.tokenizer, data.task)  # a plain model again
    return moved, evaluate(model, data.task, test, data.test["label"], pad)


if __name__ == "__main__":
    print("mean of 1 - alpha: {:.4f}, test Matthews: {:.4f}".format(*main(*sys.argv[1:])))
