"""`mien fleet provision`: flags and words. The work is in the files beside."""

from __future__ import annotations

import argparse
from pathlib import Path

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE


def verb_provision(args: argparse.Namespace) -> int:
    """Write what a site's mosquitto, Prometheus, Grafana and kiosks are told; runs none of them."""
    from export.fleet.provision import fleet_files
    from export.fleet.site import load_site
    from export.new_folder import write_new_folder

    site = load_site(args.site)
    files = fleet_files(site)
    write_new_folder(args.output, files)
    say(f"{args.output}  {len(files)} files for {len(site.kiosks)} kiosks of {site.name}; "
        f"{args.output / 'make-certificates.sh'} makes the keys")
    if args.json:
        print_json({"folder": str(args.output), "files": sorted(files), "kiosks": [k.name for k in site.kiosks]})
    return DONE


def add_verbs(verb: AddVerb) -> None:
    """Declare the verb and its flags."""
    p = verb("provision", verb_provision, group="fleet")
    p.add_argument("site", type=Path, help="a YAML file that names the site, its broker and its kiosks")
    p.add_argument("-o", "--output", type=Path, required=True, help="a folder that is absent or empty")
