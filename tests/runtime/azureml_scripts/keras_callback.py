"""Log every epoch from a callback, as scripts with Keras do."""

import math

from azureml.core import Run


class Callback:
    """Stands for keras.callbacks.Callback."""


class LogRunMetrics(Callback):
    """Log the losses of every epoch."""

    def on_epoch_end(self, epoch, log):
        run.log("Loss", log["val_loss"])
        run.log("Accuracy", log["val_accuracy"], step=epoch)


run = Run.get_context(allow_offline=True)
callback = LogRunMetrics()
for epoch in range(4):
    loss = float("nan") if epoch == 2 else math.exp(-epoch)
    callback.on_epoch_end(epoch, {"val_loss": loss, "val_accuracy": epoch / 4})

run.log("Final test loss", 0.25)
run.log_list("layers", [64, 32, 10])
run.flush()
metrics = run.get_metrics()
assert len(metrics["Loss"]) == 4 and metrics["Final test loss"] == 0.25
run.complete()
