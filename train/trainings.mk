# The rows of the papers' tables that FER2013 and CK+ allow, most valuable first: `make trainings`. Stopped at any moment and
# started again, it goes on from the last whole epoch; what has finished is not done again. Days on two cores: each line
# runs alone too, `make runs/paper-d-shallow/finished`. Epochs are fewer than some papers'.

# name, flags of `mien train` on FER2013
define on_fer2013
TRAININGS += runs/$(1)/finished
runs/$(1)/finished: | $(VENV)/.installed-dev
	$(BIN)/mien train $(2) --data $$(MIEN_DATA)/fer2013 --out runs/$(1) $$(if $$(wildcard runs/$(1)/last),--resume)
	touch $$@
endef

# name, flags of `mien cross-validate` on CK+
define on_ck_plus
TRAININGS += runs/$(1)/finished
runs/$(1)/finished: | $(VENV)/.installed-dev
	$(BIN)/mien cross-validate $(2) --data $$(MIEN_DATA)/ck48 --out runs/$(1)
	touch $$@
endef

# the quick model; the one that ships, in two steps; two born again from random with its answers (two hours of one core each),
# a pupil of two of these (83 minutes), and one of all three
$(eval $(call on_fer2013,mien-light,--recipe mien-light))
$(eval $(call on_fer2013,mien-light-50,--recipe mien-light-50))
$(eval $(call on_fer2013,mien-light-again,--recipe mien-light-again --init train/checkpoints/mien-light-50 --seed 1))
BORN_AGAIN := --recipe mien-light-50 --set 'distillation={teachers: [train/checkpoints/mien-light], weight: 0.5}'
$(eval $(call on_fer2013,born-1,$(BORN_AGAIN) --seed 1))
$(eval $(call on_fer2013,born-2,$(BORN_AGAIN) --seed 2))
$(eval $(call on_fer2013,pupil-of-two,--recipe mien-light-again --init train/checkpoints/mien-light-born --seed 2 \
    --set 'distillation={teachers: [train/checkpoints/mien-light, train/checkpoints/mien-light-born], weight: 0.7}'))
TEACHES := distillation={teachers: [train/checkpoints/mien-light, runs/born-1/best, runs/born-2/best]}
$(eval $(call on_fer2013,pupil,--recipe mien-light-50 --set '$(TEACHES)'))
runs/pupil/finished: runs/born-1/finished runs/born-2/finished

# paper D, ten epochs as printed; the deep one of 32 pixels, eight minutes an epoch of one core (of 48, twenty and more)
$(eval $(call on_fer2013,paper-d-shallow,--recipe paper-d-shallow))
$(eval $(call on_fer2013,paper-d-improved,--recipe paper-d-improved))
$(eval $(call on_fer2013,paper-d-deep,--recipe paper-d-deep --set size=32))

# paper E on CK+, both protocols; its tables' rows on one draw of 90/10, and four of them on FER2013. CK+'s 48 pixels are cut
# to 32 and its epochs to 20, with a higher rate: three minutes a row of one core; the paper's 128 pixels are 16 times that
E_QUICK := --recipe paper-e-ck-plus --set size=32 --epochs 20 --set learning_rate=2e-3 --set schedule=one-cycle \
    --set warm_up=0.2
$(eval $(call on_ck_plus,paper-e-ck-plus,$(E_QUICK)))
$(eval $(call on_ck_plus,paper-e-ck-plus-by-subject,$(E_QUICK) --set protocol=ten-fold-by-subject))

E_ROW := $(E_QUICK) --set protocol=random-90-10
define e_row
TRAININGS += runs/paper-e-$(1)-$(2)/finished
runs/paper-e-$(1)-$(2)/finished: | $(VENV)/.installed-dev
	$(BIN)/mien train $(E_ROW) --set network_options.attention=$(1) --set network_options.position=$(2) \
	    --data $$(MIEN_DATA)/ck48 --out runs/paper-e-$(1)-$(2) $$(if $$(wildcard runs/paper-e-$(1)-$(2)/last),--resume)
	touch $$@
endef
$(foreach position,after-conv before-pool after-pool,$(eval $(call e_row,csa,$(position))))
$(foreach attention,none ca sa se cbam scse,$(eval $(call e_row,$(attention),before-pool)))
# of 32 pixels, the least that five poolings leave one of, and four epochs: twenty minutes a row of one core
$(foreach attention,none ca sa csa,$(eval $(call on_fer2013,ablation-light-vgg16-$(attention),--recipe light-vgg16 \
    --epochs 4 --set size=32 --set image_sizes=[] --set ema=0.99 --set network_options.attention=$(attention))))

# one VGG19 and one VGG16, quick: INT8's figures are taken on them (make results-vgg); 50 and 40 minutes of one core. SGD at
# the paper's 0.01 learns nothing in the first epochs of so short a run
QUICK := --set batch_size=64 --set schedule=one-cycle --set warm_up=0.15 --set ema=0.99 --set optimizer=adamw \
    --set weight_decay=0.05
$(eval $(call on_fer2013,vgg19,--recipe paper-c-fer2013 $(QUICK) --epochs 5 --set 'image_sizes=[[0,32],[0.8,44]]' \
    --set step_at=[] --set learning_rate=7e-4 --set dropout=0.2))
$(eval $(call on_fer2013,vgg16,--recipe paper-a $(QUICK) --epochs 3 --set 'image_sizes=[[0,32],[0.67,48]]' \
    --set learning_rate=8e-4))
# dropout between all layers, before batch norm, shifts its variances (Li et al. 2019, https://arxiv.org/abs/1801.05134): after
# three epochs 33 % held out. One epoch more without it, at 32 pixels, repairs that
$(eval $(call on_fer2013,vgg16-32,--recipe paper-a $(QUICK) --init runs/vgg16/best --epochs 1 --set size=32 \
    --set image_sizes=[] --set dropout=0.0 --set learning_rate=5e-4 --set warm_up=0.1))
runs/vgg16-32/finished: runs/vgg16/finished

# paper A's heads at equal cost: a new head each on the trunk of vgg16-32, four epochs old, and one epoch of all of it. Ten
# epochs from random each, as the recipe has it, are three hours of one core a row
A_HEADS := --recipe paper-a $(QUICK) --init runs/vgg16-32/best --new-head --epochs 1 --set size=32 --set image_sizes=[] \
    --set dropout=0.0 --set learning_rate=5e-4 --set warm_up=0.1
$(foreach hidden,0 256 512 1024,$(eval $(call on_fer2013,paper-a-head-$(hidden),$(A_HEADS) \
    --set network_options.hidden=$(hidden))))
$(eval $(call on_fer2013,paper-a-head-0-vertical,$(A_HEADS) --set augmentation.vertical_flip=0.5))
$(foreach run,0 256 512 1024 0-vertical,$(eval runs/paper-a-head-$(run)/finished: runs/vgg16-32/finished))
# its baseline, from random: three epochs at 32 pixels take 23 minutes; the recipe's ten at 48 would take three hours
$(eval $(call on_fer2013,paper-a-classic,--recipe paper-a-classic --set size=32 --set batch_size=64 --set ema=0.99 \
    --epochs 3))

# paper C, growing faces
C_GROWING := --recipe paper-c-fer2013 --set 'image_sizes=[[0,32],[0.4,36],[0.7,44]]' --epochs 24
$(eval $(call on_fer2013,paper-c-fer2013,$(C_GROWING)))
# CK+ is a thousand frames: its folds begin with the weights of FER2013, a new head, six epochs
C_FOLDS := --recipe paper-c-ck-plus $(QUICK) --init runs/vgg19/best --new-head --epochs 6 --set image_sizes=[] \
    --set step_at=[] --set learning_rate=3e-4
$(eval $(call on_ck_plus,paper-c-ck-plus,$(C_FOLDS)))
$(eval $(call on_ck_plus,paper-c-ck-plus-by-subject,$(C_FOLDS) --set protocol=ten-fold-by-subject))
runs/paper-c-ck-plus/finished runs/paper-c-ck-plus-by-subject/finished: runs/vgg19/finished

# mien-light's ablations, four epochs each on faces of 24, then 32 pixels: five minutes a row of one core. An average over
# 500 steps, as of 50 epochs, would hardly have begun: over 100 here
ROWS := --recipe small-vgg --epochs 4 --set size=32 --set 'image_sizes=[[0,24],[0.5,32]]' --set ema=0.99
$(eval $(call on_fer2013,ablation-all,$(ROWS)))
$(eval $(call on_fer2013,ablation-no-average,$(ROWS) --set ema=0))
$(eval $(call on_fer2013,ablation-no-smoothing,$(ROWS) --set label_smoothing=0))
$(eval $(call on_fer2013,ablation-no-cutout,$(ROWS) --set augmentation.cutout=0))
$(eval $(call on_fer2013,ablation-one-size,$(ROWS) --set image_sizes=[]))
$(eval $(call on_fer2013,ablation-mixup,$(ROWS) --set mixup=0.2))
$(eval $(call on_fer2013,ablation-balanced,$(ROWS) --set balance=sampling))
$(eval $(call on_fer2013,ablation-sgd,$(ROWS) --set optimizer=sgd --set learning_rate=0.05 --set weight_decay=5e-4))

.PHONY: trainings
trainings: $(TRAININGS)
