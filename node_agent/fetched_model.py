"""A model that no pack of this node holds, as the one variant of a pack of its own.

The gateway's assignment describes it. It is checked by the rules of a pack's manifest, and the file
by its SHA-256 whenever it is read, so from here on it is a model like any other.
"""

from pathlib import Path

from pydantic import ValidationError

from broker.payloads import Assignment
from models.errors import ModelsError
from models.interface import Interface
from models.manifest import PackManifest, VariantEntry
from models.pack import Pack, load_pack, loose_pack, pack_in_memory, shipped_packs
from node_agent.errors import FetchError
from node_agent.model_keeper import Choice
from node_agent.model_store import ModelStore


def describe_pack(assignment: Assignment) -> PackManifest:
    """Return the manifest of a pack that holds the assigned model alone.

    Labels and weight are the gateway's concern; here the classes are numbers.

    Raises:
        FetchError: the assignment describes no model, or one that cannot be.
    """
    description = assignment.description
    if description is None:
        raise FetchError("the gateway does not send it", again=False)
    try:
        entry = VariantEntry(
            name=assignment.variant,
            file=ModelStore.file_name(assignment.model),
            sha256=assignment.model,
            precision=description.precision,
            size_bytes=description.size_bytes,
            resolution=description.resolution,
            width=1.0,
            input_offset=description.input_offset,
            weight=1.0,
            parameters=0,
            macs=0,
            interface=Interface(description.input_range, description.output),
        )
        return PackManifest(
            name=assignment.pack,
            version="assigned",
            labels=tuple(str(index) for index in range(description.classes)),
            rule="paper",
            k=description.k,
            variants=(entry,),
        )
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        problem = first["msg"].removeprefix("Value error, ")
        raise FetchError(f"its description says {where}: {problem}", again=False) from exc
    except ValueError as exc:  # of the interface
        raise FetchError(f"its description says: {exc}", again=False) from exc


def stored_choice(manifest: PackManifest, folder: Path) -> Choice:
    """Return the model as a choice whose file is in that folder."""
    return _only_choice(loose_pack(folder, manifest))


def held_choice(manifest: PackManifest, model: bytes) -> Choice:
    """Return the model as a choice whose file is in memory, where no disk holds it."""
    return _only_choice(pack_in_memory(manifest, {manifest.variants[0].file: model}))


def shipped_choice(sha256: str) -> Choice | None:
    """Return the model from one of the packs that come with idlesight, if one holds it."""
    for path in shipped_packs().values():
        try:
            choice = choice_in(load_pack(path), sha256)
        except ModelsError:
            continue  # a damaged installation: the broker may still have it
        if choice is not None:
            return choice
    return None


def choice_in(pack: Pack, sha256: str) -> Choice | None:
    """Return the model of that hash from a pack, if it is there."""
    for entry in pack.manifest.variants:
        for file in entry.files:
            if file.sha256 == sha256:
                return Choice(pack, entry, file.precision)
    return None


def _only_choice(pack: Pack) -> Choice:
    (entry,) = pack.manifest.variants
    return Choice(pack, entry)
