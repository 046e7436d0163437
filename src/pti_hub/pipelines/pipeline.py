"""PTIPipeline: the one place where the parts meet."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import ModelCard, ModelHubMixin
from PIL import Image
from typing_extensions import Unpack

from pti_hub.edits import EditInput
from pti_hub.faces import Align, FaceChoice
from pti_hub.generators import Generator
from pti_hub.images import ImageInput, to_pil
from pti_hub.optim import helpers_end, process_state
from pti_hub.perceptual import LPIPS
from pti_hub.personalization import Personalization
from pti_hub.pipelines.components import Components
from pti_hub.pipelines.dragging import DragOptions, DragOutput, Move, drag_identity
from pti_hub.pipelines.inputs import Target, name_photographs, read_face, read_target
from pti_hub.pipelines.inversion import personalize, project
from pti_hub.pipelines.loading import LoadOptions, complete_generator, load_pipeline
from pti_hub.pipelines.output import OutputType, PTIOutput, check_output_type
from pti_hub.pipelines.portraits import Portrait, put_back, render_identities, walk
from pti_hub.pipelines.progress import Progress, StepEndCallback
from pti_hub.pipelines.saving import PIPELINE_FOLDER, make_card, save_components, write_components
from pti_hub.pipelines.scenes import SUBJECT, EditsByFace, ImageOrIdentity, read_scenes, run_folder_of
from pti_hub.projectors import Projection
from pti_hub.storage import DownloadOptions, PushOptions, push_folder


class PTIPipeline(Components, ModelHubMixin, library_name="pti-hub", pipeline_tag="image-to-image"):
    """Inverts photographs into a generator, tunes the generator around them and edits them (Roich et al. 2021).

    The parts are attributes and can be swapped, `pipe.projector = WProjector(WProjectorConfig(num_steps=450))`;
    see `pti_hub.pipelines.Components` for the arguments.

    Examples:
        >>> from pti_hub import PTIPipeline
        >>> pipe = PTIPipeline.from_pretrained("pti-hub/mobilestylegan-ffhq")
        >>> out = pipe("photo.jpg", edit="smile")
        >>> out.photographs[0].save("smiling.png")
        >>> pipe(out.personalization, edit=["smile", ("age", -2.0)]).images[0].save("smiling_and_younger.png")
    """

    @helpers_end()
    def __call__(
        self,
        image: ImageOrIdentity | Sequence[ImageOrIdentity],
        edit: EditsByFace | None = None,
        *,
        photograph: ImageInput | None = None,
        align: Align = "auto",
        face: FaceChoice = None,
        seed: int = 0,
        run_folder: str | Path | None = None,
        callback_on_step_end: StepEndCallback | None = None,
        output_type: OutputType = "pil",
    ) -> PTIOutput:
        """Edit photographs: align, project, tune, edit; or edit identities that were tuned before.

        Args:
            image: Path, PIL image, uint8 array [H, W, 3] or float tensor [3, H, W] in [-1, 1]; a `Personalization`; the
                name of a loaded identity; or a list of these. Each face gets a generator of its own.
            edit: Name, `(name, strength)`, `Edit`, `Direction`, or a list of these, applied in order. Strength 1 is one
                clearly visible step; `"smile=raw:1"` is the plain vector, `"pose=5deg"` turns the head by 5 degrees.
                `pti_hub.edits.EditParser` lists all that can be named: GANSpace, SeFa, style mixing, style channels.
                A dict gives each face its own edits: `{0: "smile", 2: ["age=-1", "pose=5deg"]}`, by the number of the
                face in each photograph; of identities, by name or by place in the call.
            photograph: For identities, the photograph that they were tuned on: the edits are put into it.
            align: `True` aligns faces as in FFHQ, `False` takes square pictures as they are, `"auto"` aligns if needed.
            face: Which faces, where there are several: a number, counted from 0 from left to right, a list of numbers,
                or `"all"`; by default those that `edit` has numbers for.
            seed: Seed of everything random.
            run_folder: Folder for the work's state: after a kill, the same call resumes it and gives the same bits.
                Several photographs, and faces that were chosen, have numbered folders inside it.
            callback_on_step_end: Called with the number of the step and `{"stage": …, "lpips": …, "picture": …}`; see
                `StepEndCallback`. On an accelerator that costs a synchronisation per step. An exception ends the work.
            output_type: `"pil"`, or `"np"` or `"pt"` for arrays or tensors as in diffusers; see `PTIOutput.converted`.

        Returns:
            Whole photographs, in order, and pictures, metrics and personalisations, one per face or identity.

        Raises:
            InputError: A photograph can't be read (`ImageError`), holds no or several faces (`FaceError`), or an edit
                is unknown, or for a face that is not there.
        """
        check_output_type(output_type)
        items = image if isinstance(image, (list, tuple)) else [cast("ImageOrIdentity", image)]
        # 1. Who: photographs with their faces x [1, 3, R, R], or known identities; and the edits of each.
        scenes = read_scenes(self, items, edit, photograph, align, face)
        progress, output = Progress(self.progress_bar_config, callback_on_step_end), PTIOutput()
        for i, scene in enumerate(scenes):
            faces: list[tuple[Portrait, Image.Image]] = []
            for subject in scene.subjects:
                learned = subject.source
                if isinstance(learned, Target):
                    # 2. Project and tune (Eq. 1, 2): x → w_p [1, w_dim] or [1, num_ws, w_dim] → θ*.
                    output.aligned.extend(to_pil(learned.x))
                    run = run_folder_of(run_folder, scenes, i, subject)
                    learned = personalize(self, {SUBJECT: learned}, seed, progress, run)
                # 3. Edit: G(w_p + a·d; θ*).
                portrait = Portrait(self, learned, subject.name)
                edited, applied = portrait.edited(subject.edits)
                output.add(edited, portrait.reconstruction, applied, learned, subject.name)
                if scene.photograph is not None:
                    faces.append((portrait, edited))
                    output.projection.append(portrait.projection)
            # 4. Home: the whole photograph, changed only where the edits changed its faces.
            if scene.photograph is not None:
                output.photographs.append(put_back(scene.photograph, faces))
        return output.converted(output_type)

    def invert(
        self,
        image: ImageInput,
        *,
        align: Align = "auto",
        face: int | None = None,
        seed: int = 0,
        callback_on_step_end: StepEndCallback | None = None,
    ) -> Projection:
        """Project one photograph (Eq. 1), without tuning; arguments and errors as in `__call__`.

        Returns:
            The pivot with its noise maps.
        """
        progress = Progress(self.progress_bar_config, callback_on_step_end)
        return project(self, read_target(self, image, align, face).x, seed, progress)

    def personalize(
        self,
        images: Mapping[str, ImageInput | Sequence[ImageInput]] | ImageInput,
        *,
        align: Align = "auto",
        face: int | None = None,
        seed: int = 0,
        run_folder: str | Path | None = None,
        callback_on_step_end: StepEndCallback | None = None,
    ) -> Personalization:
        """Project and tune, without rendering an edit; further arguments and errors as in `__call__`.

        Where accelerate has started several processes, all of them must make this call with the same arguments, and
        with a run folder that all of them see: they share out the photographs, and all get the result. A step is then
        taken on as many photographs as there are processes, or on the tuner's `batch_size` if that is more; with a
        `batch_size` of at least the number of processes, that number does not change the result.

        Args:
            images: Photographs by the names of their identities, which come to share one generator (Eq. 3): one per
                name, or a list of several of the same person, whose pivots are then called `"ada/1"`, `"ada/2"`, …; or
                one photograph alone, then called `"subject"`.

        Returns:
            Weight deltas and the pivots.

        Raises:
            InputError: No or equal names; a run folder of another call; processes that were given different arguments.
        """
        named = name_photographs(images if isinstance(images, Mapping) else {SUBJECT: images})
        targets = {name: read_target(self, image, align, face) for name, image in named.items()}
        progress = Progress(self.progress_bar_config, callback_on_step_end)
        return personalize(self, targets, seed, progress, run_folder, shared=process_state().num_processes > 1)

    @helpers_end()
    def edit(self, identity: Personalization | str, edit: EditInput | None = None) -> list[Image.Image]:
        """Render identities that were tuned before: G(w_p + a·d; θ*), and nothing else.

        Args:
            identity: A personalisation, all of whose identities are rendered, or the name of a loaded one.
            edit: As in `__call__`.

        Returns:
            One picture per identity.

        Raises:
            InputError: No such identity or edit, or the personalisation belongs to another generator.
        """
        return render_identities(self, identity, edit)

    @helpers_end()
    def walk(
        self, identity: Personalization | str, direction: EditInput, strengths: Sequence[float] = (-2, -1, 0, 1, 2)
    ) -> list[Image.Image]:
        """Render an identity at several strengths of an edit, for `side_by_side`, `save_animation` of `pti_hub.images`.

        Args:
            identity: A personalisation with one pivot, or the name of a loaded one.
            direction: One edit as in `__call__`; if it has a strength, that is a factor on all strengths.
            strengths: Strengths to render.

        Returns:
            One picture per strength.

        Raises:
            InputError: No such identity or direction, an angle in place of a direction, or several pivots.
        """
        return walk(self, identity, direction, strengths)

    @helpers_end()
    def drag(
        self, identity: Personalization | str, moves: Sequence[Move], **options: Unpack[DragOptions]
    ) -> DragOutput:
        """Bring points of a face to where they are wanted (the task of DragGAN, Pan et al. 2023).

        Args:
            identity: A personalisation with one pivot, or the name of a loaded one.
            moves: Pairs of points, from where and to where, as x and y in pixels of the photograph if that is given, of
                the face at the generator's resolution if not. A point that is to stay is its own target.
            **options: `photograph`, `mask`, `edit`, `steps` and others; see `pti_hub.pipelines.DragOptions`.

        Returns:
            The pictures, where the points are now, and the change as a `Direction`, an edit for any face.

        Raises:
            InputError: No such identity; points outside the face or the mask, or contradicting each other.
        """
        return drag_identity(self, identity, moves, **options)

    @helpers_end()
    def prepare(self, image: ImageInput, *, align: Align = "auto", face: int | None = None) -> Image.Image:
        """A photograph as the generator knows pictures, of faces in FFHQ's alignment; arguments as in `__call__`.

        Raises:
            InputError: It can't be read (`ImageError`), or holds no or several faces (`FaceError`).
        """
        return read_face(self, image, align, face).picture

    @classmethod
    def from_generator(
        cls,
        generator: Generator,
        *,
        perceptual: LPIPS | None = None,
        projector_perceptual: LPIPS | None = None,
        device: torch.device | str | None = None,
        aligns_faces: bool = False,
        **parts: Any,
    ) -> PTIPipeline:
        """Complete a bare generator, of cars, cats or whatever it was trained on, to a pipeline.

        Args:
            generator: The generator; the statistics of its W are sampled where it has none.
            perceptual: LPIPS network of tuning and metrics; the published one with AlexNet by default.
            projector_perceptual: LPIPS network of the projection; by default the given `perceptual`, or the published
                one with VGG.
            device: Where to; accelerate's choice by default.
            aligns_faces: Whether photographs are of faces and brought to FFHQ's alignment, as FFHQ's generators need.
            **parts: Further arguments of `pti_hub.pipelines.Components`, such as `name`.

        Examples:
            >>> pipe = PTIPipeline.from_generator(StyleGAN2.from_pretrained("me/stylegan2-cats"))
            >>> pipe("cat.jpg", edit="pc3").images[0].save("other_cat.png")

        Raises:
            WeightsError: No LPIPS network is given, and the package that holds the published ones is not installed.
            InputError: No such device.
        """
        parts["aligns_faces"] = aligns_faces
        return complete_generator(cls, generator, perceptual, projector_perceptual, device, parts)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        preset: str | None = None,
        device: torch.device | str | None = None,
        torch_dtype: torch.dtype | None = None,
        base: str | Path | PTIPipeline | None = None,
        variant: str | None = None,
        **download: Unpack[DownloadOptions],
    ) -> PTIPipeline:
        """Load a pipeline, or a personalisation with the pipeline it was tuned on.

        Args:
            pretrained_model_name_or_path: A known checkpoint (`pti_hub.pipelines.KNOWN_CHECKPOINTS`), a folder, or a
                Hub id, of a pipeline or of a personalisation. A known checkpoint is built once, into the user's cache.
            preset: Schedule to use instead of the saved one, see `set_preset`.
            device: Where to; accelerate's choice by default.
            torch_dtype: The weights' type.
            base: For a personalisation, the pipeline that it was tuned on, if not where it says; its weights must be
                the same.
            variant: Precision of the weights to fetch, `"fp16"` or `"bf16"`, where it was saved in that.
            **download: `revision`, `token`, `cache_dir`, `local_files_only`, `force_download`, see
                `pti_hub.storage.DownloadOptions`; `force_download` builds a known checkpoint again.

        Raises:
            WeightsError: It can't be had, is damaged, or names a class that is not one of this package's.
            InputError: No such preset, variant or device.
        """
        options = LoadOptions(preset, device, torch_dtype, variant)
        return load_pipeline(cls, pretrained_model_name_or_path, options, base, **download)

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | Path,
        *,
        variant: str | None = None,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        **push: Unpack[PushOptions],
    ) -> str | None:
        """Write a folder that needs no network and no code but this package's.

        Args:
            save_directory: The folder; what was there stays whole until the new one is complete.
            variant: `"fp16"` or `"bf16"` writes the weights in that precision, as `model.fp16.safetensors`.
            push_to_hub: Whether to upload the folder as well.
            repo_id: Repository to upload to; named like the folder by default.
            **push: Further keywords of `push_to_hub`.

        Returns:
            Address of the commit, where there is one.

        Raises:
            InputError: There is no such variant, a part can't be saved, or the folder holds something else.
            SaveError: The disk is full, or the place is not writable.
        """
        save_components(self, save_directory, variant)
        if not push_to_hub:
            return None
        return self.push_to_hub(repo_id or Path(save_directory).name, variant=variant, **push)

    def push_to_hub(  # type: ignore[override]
        self, repo_id: str, *, variant: str | None = None, **push: Unpack[PushOptions]
    ) -> str:
        """Publish the whole pipeline, which needs nothing else; private unless `private=False` is passed.

        Args:
            repo_id: Repository.
            variant: As in `save_pretrained`; what the repository has in other precisions stays there.
            **push: See `pti_hub.storage.PushOptions`.

        Returns:
            Address of the commit.

        Raises:
            InputError: There is no such variant, or the repository is public and was to be private.
            SaveError: The Hub refuses or can't be reached.
        """
        write = functools.partial(write_components, self, variant=variant)
        return push_folder(repo_id, PIPELINE_FOLDER, write, self.generate_model_card, **push)

    def generate_model_card(self, repo_id: str | None = None, captions: Sequence[str] = ()) -> ModelCard:
        """The card of a saved folder: parts, licences; arguments as of `Personalization.generate_model_card`."""
        return make_card(self, repo_id, captions)
