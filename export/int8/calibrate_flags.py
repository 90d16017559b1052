"""What `mien calibrate`, `equalize` and `oracle` refuse before they load a face: numbers out of range, flags at odds.

Knows no model: what one may say of its layers is checked in `int8_from_onnx.py`.
"""

from __future__ import annotations

import argparse

from runtime.errors import BadInput


def require_draw(args: argparse.Namespace) -> None:
    """Refuse a number of faces (-n) or a --seed that nothing can be drawn with. Raises BadInput."""
    if args.n < 1:
        raise BadInput(f"expected -n of at least 1 face, found {args.n}")
    if args.seed < 0:
        raise BadInput(f"expected --seed of 0 or more, found {args.seed}")


def require_calibrate_flags(args: argparse.Namespace) -> None:
    """Refuse flags that would be found wrong, or silently left aside, after the work. Raises BadInput."""
    from calibration.tensorrt_cache import require_version_with_caches

    require_draw(args)
    if args.check_cache:
        changing = {"--images": args.images, "--from-histograms": args.from_histograms, "--compare": args.compare,
                    "--report": args.report, "--tensorrt-cache": args.tensorrt_cache, "--list": args.list}
        given = [flag for flag, value in changing.items() if value]
        if given:
            raise BadInput(f"expected --check-cache alone, found it with {', '.join(given)}; calibrate first, then "
                           "check")
    if args.from_histograms:
        of_faces = {"--images": args.images, "--list": args.list, "--coverage": args.coverage, "--resume": args.resume,
                    "--correct-biases": args.correct_biases}
        given = [flag for flag, value in of_faces.items() if value]
        if given:
            raise BadInput(f"expected faces or --from-histograms, found it with {', '.join(given)}; leave one out "
                           "(the faces of a --report are --held-out PATH)")
    elif args.alone:
        raise BadInput("expected --alone with --from-histograms FILE, found it without; leave it out")
    if args.compare:
        of_a_model = {"--list": args.list, "--coverage": args.coverage, "--resume": args.resume,
                      "--keep-float": args.keep_float, "--correct-biases": args.correct_biases, "--draws": args.draws,
                      "--tensorrt-cache": args.tensorrt_cache, "--from-histograms": args.from_histograms}
        given = [flag for flag, value in of_a_model.items() if value]
        if given:
            raise BadInput(f"expected --compare, which writes no model, found it with {', '.join(given)}; leave one "
                           "out")
    if not args.report and (args.held_out or args.show_faces):
        raise BadInput("expected --held-out and --show-faces with --report FILE, found one without; leave it out")
    if args.tensorrt_cache:
        require_version_with_caches(args.tensorrt_version)
