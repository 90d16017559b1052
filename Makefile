# Two commands: `make demo` and `make test`. Both make .venv and install what they need, pinned by constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2

.PHONY: demo test test-gpu test-opencv5 lint kills reliability recovery soak fuzz slot-kills bundle-mutations deploy-drops power-cuts arm64-root results results-faces results-calibration results-vgg results-peers zoo clean

demo: $(VENV)/.installed-report
	$(BIN)/mien demo --out demo

# Two workers, a file of tests each at a time; then, alone, the faults, which kill, stall and fill what others would share.
test: $(VENV)/.installed-dev lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --ignore tests/faults
	$(BIN)/python -m pytest tests/faults

# The device's half on OpenCV 5, which JetPack 7.2 brings and pip installs by default: no Haar cascades there.
test-opencv5: $(VENV)/.installed-dev
	$(PYTHON) -m venv $(VENV)-opencv5
	$(VENV)-opencv5/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt ".[dev]"
	$(VENV)-opencv5/bin/python -m pip install --quiet --disable-pip-version-check "opencv-python-headless>=5,<6"
	$(VENV)-opencv5/bin/python -m pytest tests/runtime tests/export/test_clip.py tests/export/test_demo.py

# On a machine with an NVIDIA GPU; elsewhere every test is skipped with the reason.
test-gpu: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -rs tests/gpu

# 1,000 SIGKILLs while events are written: a minute or two. The suite has a hundred.
kills: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow tests/faults/test_disk_28_33.py

# An update killed before every line that a device executes: a quarter of an hour. The suite kills at some seventy.
slot-kills: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow tests/faults/test_deploy_30_kills.py

# 10,000 random mutations of a signed bundle, none accepted: minutes. The suite makes 300.
bundle-mutations: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow tests/runtime/bundle/test_unpack.py

# The connection dies before, during and after each step of a deployment, over a real ssh server: minutes.
deploy-drops: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow tests/faults/test_deploy_17_23_50_54.py

# The power goes at every change of the disk that an update makes, on a model of a disk: minutes. The suite cuts some.
power-cuts: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow tests/faults/test_deploy_32_power_cut.py

# The Debian package and the root for flashing, installed on an aarch64 Debian that qemu runs, and lintian's judgement: ten
# minutes and more. Root, and apt install qemu-user-static mmdebstrap lintian; the root is kept in build/, 0.4 GB.
arm64-root: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow tests/export/forms

# Every fault of tests/faults, injected, and what was seen as the tables of docs/reliability.md: minutes.
reliability: $(VENV)/.installed-dev
	mkdir -p build
	$(BIN)/python -m pytest tests/faults --ignore tests/faults/test_reliability_table.py -o junit_family=xunit1 \
	    --junitxml=build/faults.xml
	$(BIN)/python tests/faults/reliability_table.py build/faults.xml docs/reliability.md

# A face for streams that nobody looks at: the public-domain photograph that comes with matplotlib.
FACE = $$($(BIN)/python -c "from matplotlib import cbook; print(cbook.get_sample_data('grace_hopper.jpg', False))")

# 200 failures of a camera's process and 20 of the whole stream: fifteen minutes.
recovery: $(VENV)/.installed-dev
	$(BIN)/python -m runtime.bench.recovery --face "$(FACE)" --failures 200 \
	    --record docs/results/bench-recovery-cpu.json

# Ten minutes of the stream as fast as it goes, too few frames for the bound; make soak SOAK_FRAMES=1000000 takes hours.
SOAK_FRAMES ?= 60000
soak: $(VENV)/.installed-dev
	$(BIN)/python -m runtime.bench.soak --face "$(FACE)" --frames $(SOAK_FRAMES) --record docs/results/soak-cpu.json

# 100,000 mutated inputs over all that reads hostile bytes. The suite has 2,000.
fuzz: $(VENV)/.installed-dev
	$(BIN)/python tests/fuzz/many_inputs.py --inputs 100000 --record docs/results/fuzz.json

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

# tritonclient is there for its schema of model repositories; it pins another ml-dtypes than onnx needs, hence without its own
$(VENV)/.installed-%: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$*]"
	$(if $(filter dev,$*),$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps tritonclient==2.73.0)
	touch $@

# Every record of the shipped model again; FER2013 lies in $(MIEN_DATA). Best on an idle machine.
results: $(VENV)/.installed-dev
	for p in fp16 int8; do $(BIN)/mien check mien-light --precision $$p --with-copies --data $(MIEN_DATA)/fer2013 \
	    --record docs/results/mien-light-$$p-cpu-PrivateTest.json || exit; done
	$(BIN)/mien check mien-light --precision int8 --form gpu --with-copies --data $(MIEN_DATA)/fer2013 \
	    --record docs/results/mien-light-int8-gpu-form-PrivateTest.json
	for f in cpu gpu; do $(BIN)/mien check mien-light --precision int8 --form $$f --split PublicTest PrivateTest \
	    --with-copies --data $(MIEN_DATA)/fer2013 --record docs/results/mien-light-int8-$$f-pooled.json || exit; done
	$(BIN)/mien check mien-light --chain --data $(MIEN_DATA)/fer2013 \
	    --record docs/results/gate-mien-light-int8-cpu.json
	$(BIN)/python -m export.gate.cost mien-light --data $(MIEN_DATA)/fer2013 --record docs/results/gate-cost-cpu.json
	$(BIN)/python -m export.gate.simulate --record docs/results/gate-error-rates.json
	$(BIN)/mien bench mien-light --checks docs/results/mien-light-*-cpu-PrivateTest.json \
	    --record docs/results/bench-mien-light-cpu.json
	$(BIN)/python -m runtime.bench.overhead mien-light --record docs/results/engine-overhead-cpu.json
	$(BIN)/python -m export.drift.record mien-light --data $(MIEN_DATA)/fer2013 \
	    --record docs/results/drift-mien-light-cpu.json
	$(BIN)/mien demo --out demo && $(BIN)/python -m runtime.bench.drift demo/clip.mp4 \
	    --record docs/results/bench-drift-cpu.json
	$(BIN)/mien bench stream demo/clip.mp4 --faces mien-face $(MIEN_DATA)/models/yunet_n_dynamic.onnx haar \
	    --record docs/results/bench-stream-cpu.json
	$(BIN)/mien bench-train --data $(MIEN_DATA)/fer2013 --record docs/results/bench-train-cpu.json
	$(BIN)/mien oracle mien-light --data $(MIEN_DATA)/fer2013 --draws 59 \
	    --record docs/results/oracle-mien-light-cpu.json
	$(BIN)/mien oracle mien-light --form gpu --data $(MIEN_DATA)/fer2013 --draws 0 \
	    --record docs/results/oracle-mien-light-gpu-form.json
	$(BIN)/python -m export.int8.compare_repairs mien-light --data $(MIEN_DATA)/fer2013 --held-out 1024 \
	    --record docs/results/repair-mien-light.json
	$(BIN)/mien board-report --target cpu --out docs/boards
	$(BIN)/python -m export.board.table

# The detector's records: what INT8 costs it, how it stands beside its teacher and OpenCV's cascade, and what the stream's
# crop costs the expression model. $(MIEN_DATA) holds heads/, scenes/, models/ and fer2013/.
FACES := --data $(MIEN_DATA) --labels train/checkpoints/mien-face/labels.npz
results-faces: $(VENV)/.installed-dev
	for p in fp16 int8; do $(BIN)/mien faces check mien-face --precision $$p $(FACES) \
	    --record docs/results/mien-face-$$p-cpu.json || exit; done
	$(BIN)/mien faces check mien-face --precision int8 --form gpu $(FACES) \
	    --record docs/results/mien-face-int8-gpu-form.json
	$(BIN)/mien faces compare mien-face --teacher $(MIEN_DATA)/models/yunet_n_dynamic.onnx $(FACES) \
	    --record docs/results/faces-compared-cpu.json --gallery docs/results/mien-face-mistakes.jpg
	$(BIN)/python -m export.faces.crop_cost mien-light --data $(MIEN_DATA)/fer2013 \
	    --record docs/results/crop-cost-mien-light.json
	$(BIN)/python -m export.faces.crop_cost mien-light --aligned --data $(MIEN_DATA)/fer2013 \
	    --record docs/results/crop-cost-mien-light-aligned.json

# What calibrating costs (VGG16, against ONNX Runtime's own) and what each choice of faces costs (mien-light): an hour.
results-calibration: $(VENV)/.installed-dev
	$(BIN)/python -m export.int8.calibration_costs --data $(MIEN_DATA)/fer2013 \
	    --record docs/results/calibration-costs-vgg16-cpu.json
	$(BIN)/mien calibrate mien-light --images $(MIEN_DATA)/fer2013 \
	    --compare docs/results/calibration-choices-mien-light.json

# What INT8 costs a VGG16 and a VGG19 of the train room, on both test splits pooled: an hour and a half of training first.
results-vgg: runs/vgg16-32/finished runs/vgg19/finished
	for n in vgg16-32 vgg19; do $(BIN)/mien export runs/$$n/best --out models/$$n --data $(MIEN_DATA)/fer2013 && \
	    $(BIN)/mien calibrate models/$$n --images $(MIEN_DATA)/fer2013 -n 512 && for f in cpu gpu; do \
	    $(BIN)/mien check models/$$n --precision int8 --form $$f --split PublicTest PrivateTest --with-copies \
	    --data $(MIEN_DATA)/fer2013 --record docs/results/$$n-int8-$$f-pooled.json || exit; done || exit; done
	$(BIN)/mien bench models/vgg16-32 --precision fp32 int8 --threads 1 --batch 1 16 --rounds 60 \
	    --record docs/results/bench-vgg16-cpu.json

# The shipped network through other quantizers. NVIDIA's pins another onnx, so it has an environment of its own, and is
# skipped without: make results-peers MODELOPT_PYTHON=path/to/bin/python, with nvidia-modelopt[onnx] there. So is the stream
# beside the package fer: FER_PYTHON=path/to/bin/python, with fer and tensorflow-cpu there.
results-peers: $(VENV)/.installed-dev
	$(BIN)/python -m export.int8.compare_quantizers --data $(MIEN_DATA)/fer2013 \
	    $(if $(MODELOPT_PYTHON),--modelopt-python $(MODELOPT_PYTHON)) \
	    --record docs/results/quantizers-mien-light-cpu.json
	$(if $(FER_PYTHON),$(BIN)/python -m export.against_fer --fer-python $(FER_PYTHON) \
	    --record docs/results/bench-fer-cpu.json)

# Every network of the papers down the whole road, then its FP16 graph over all of FER2013: hours, and may be stopped; what
# the record holds of the same code is not done again.
zoo: $(VENV)/.installed-dev
	$(BIN)/python -m export.zoo.record --data $(MIEN_DATA)/fer2013 --record docs/results/zoo.json
	$(BIN)/python -m pytest -m zoo

include train/trainings.mk

clean:
	rm -rf $(VENV) demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
