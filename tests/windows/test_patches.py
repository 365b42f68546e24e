from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from percepts.windows import grid_view, merge_patches, split_grid, split_patches

settings.load_profile("ci")  # no deadlines: a loaded machine is no failure

sides = st.integers(1, 40)
sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))
overlaps = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9])
covers = st.sampled_from(["pad", "shift", "drop"])
modes = st.sampled_from(["avg", "max", "min", "overwrite"])
types = st.sampled_from([np.uint8, np.int32, np.float32])


def picture(height: int, width: int, dtype: type = np.uint8) -> np.ndarray:
    values = np.random.default_rng(height * 100 + width).integers(0, 256, (height, width, 3))
    return (values / 7).astype(dtype) if dtype is np.float32 else values.astype(dtype)


@given(sides, sides, sizes, overlaps, st.sampled_from(["pad", "shift"]))
def test_patches_cover_every_pixel_and_are_what_their_boxes_say(height, width, size, overlap, cover):
    image = picture(height, width)
    patches = split_patches(image, size, overlap=overlap, cover=cover, fill=9)
    seen = np.zeros((height, width), bool)
    for data, (top, bottom, left, right) in zip(patches.data, patches.boxes, strict=True):
        seen[top:bottom, left:right] = True
        inside = image[top:bottom, left:right]
        assert (bottom - top, right - left) == size
        np.testing.assert_array_equal(data[: inside.shape[0], : inside.shape[1]], inside)
        assert (data[inside.shape[0] :] == 9).all() and (data[:, inside.shape[1] :] == 9).all()
        if cover == "shift" and height >= size[0] and width >= size[1]:
            assert inside.shape[:2] == size  # nothing is made up
    assert seen.all()


@given(sides, sides, sizes, overlaps, covers, modes, types)
def test_merge_gives_the_picture_back(height, width, size, overlap, cover, mode, dtype):
    image = picture(height, width, dtype)
    patches = split_patches(image, size, overlap=overlap, cover=cover)
    if len(patches.data) == 0:
        assert cover == "drop" and (height < size[0] or width < size[1])
        return
    covered = image[: patches.boxes[:, 1].max(), : patches.boxes[:, 3].max()]
    back = merge_patches(patches, mode)
    assert back.dtype == image.dtype
    np.testing.assert_array_equal(back, covered)
    assert cover == "drop" or covered.shape == image.shape


@given(sides, sides, st.integers(1, 6), st.integers(1, 6), covers, modes)
def test_a_grid_has_the_rows_and_columns_asked_for_and_merges_back(height, width, rows, columns, cover, mode):
    rows, columns = min(rows, height), min(columns, width)
    image = picture(height, width)
    patches = split_grid(image, rows, columns, cover=cover)
    assert patches.layout == (rows, columns)
    back = merge_patches(patches, mode)
    np.testing.assert_array_equal(back, image[: back.shape[0], : back.shape[1]])
    assert cover == "drop" or back.shape == image.shape


def test_patchify_s_layout():
    # patchify((512, 512, 3), (128, 128, 3), step=128) has shape (4, 4, 1, 128, 128, 3), entry [i, j, 0] being the
    # slice of that row and column.
    image = picture(512, 512)
    grid = split_patches(image, 128).grid()
    assert grid.shape == (4, 4, 1, 128, 128, 3)
    for i, j in np.ndindex(4, 4):
        np.testing.assert_array_equal(grid[i, j, 0], image[128 * i : 128 * i + 128, 128 * j : 128 * j + 128])
    np.testing.assert_array_equal(grid_view(image, 128), grid)


@given(st.integers(8, 40), st.integers(8, 40), sizes, st.tuples(st.integers(1, 15), st.integers(1, 15)))
def test_torch_s_unfold(height, width, size, stride):
    size = min(size[0], height), min(size[1], width)
    image = picture(height, width, np.float32)
    tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())
    patches = split_patches(image, size, stride=stride, cover="drop")
    columns = torch.nn.functional.unfold(tensor[None], size, stride=stride)[0].numpy()
    np.testing.assert_array_equal(patches.columns(), columns)
    view = grid_view(image, size, stride)
    np.testing.assert_array_equal(view, patches.grid())
    unfolded = tensor.unfold(1, size[0], stride[0]).unfold(2, size[1], stride[1])  # (C, rows, columns, h, w)
    np.testing.assert_array_equal(view[:, :, 0].transpose(4, 0, 1, 2, 3), unfolded.numpy())


def test_a_view_shares_the_memory_of_an_array_and_of_a_tensor():
    image = picture(10, 11)
    tensor = torch.from_numpy(image)
    view, tensor_view = grid_view(image, 4, 3), grid_view(tensor, 4, 3)
    np.testing.assert_array_equal(view, tensor_view.numpy())
    assert np.shares_memory(view, image)
    assert tensor_view.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr()


def test_empatches_layout():
    # EMPatches 0.2.3, extract_patches(image of 500 x 510, 128, overlap=0.25): 25 boxes (y0, y1, x0, x1), column by
    # column; the step is 128 - floor(128 * 0.25) = 96 and the last of each side is moved inward to end at the edge.
    patches = split_patches(picture(500, 510), 128, overlap=0.25, cover="shift")
    tops, lefts = [0, 96, 192, 288, 372], [0, 96, 192, 288, 382]
    boxes = [(y, y + 128, x, x + 128) for x in lefts for y in tops]
    by_column = patches.boxes.reshape(5, 5, 4).transpose(1, 0, 2).reshape(-1, 4)
    assert by_column.tolist() == [list(box) for box in boxes]


def test_a_picture_of_500_by_510_loses_nothing_where_patchify_loses_a_quarter():
    image = picture(500, 510)
    assert split_patches(image, 128, cover="drop").layout == (3, 3)
    assert split_patches(image, 128).layout == split_patches(image, 128, cover="shift").layout == (4, 4)
    np.testing.assert_array_equal(merge_patches(split_patches(image, 128)), image)


def test_overlaps_are_merged_as_asked():
    patches = split_patches(np.zeros((1, 3, 1), np.float32), (1, 2), stride=(1, 1))
    changed = replace(patches, data=np.array([[[[1], [3]]], [[[-6], [5]]]], np.float32))
    expected = {"avg": [1, -1.5, 5], "max": [1, 3, 5], "min": [1, -6, 5], "overwrite": [1, -6, 5]}
    assert {mode: merge_patches(changed, mode).ravel().tolist() for mode in expected} == expected


def test_a_mean_of_integers_goes_to_the_nearest():
    patches = split_patches(np.zeros((1, 3, 1), np.uint8), (1, 2), stride=(1, 1))
    changed = replace(patches, data=np.array([[[[1], [254]]], [[[255], [5]]]], np.uint8))
    assert merge_patches(changed).ravel().tolist() == [1, 254, 5]  # 254.5, half to even, and no overflow on the way


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: split_patches(picture(9, 9), 0),
        lambda: split_patches(picture(9, 9), 3, stride=4),
        lambda: split_patches(picture(9, 9), 3, overlap=1.0),
        lambda: split_patches(picture(9, 9), 3, stride=2, overlap=0.5),
        lambda: split_patches(picture(9, 9), 3, cover="cover"),
        lambda: split_patches(picture(9, 9)[:, :, 0], 3),
        lambda: split_grid(picture(9, 9), 10, 1),
        lambda: grid_view(picture(9, 9), 10),
        lambda: merge_patches(split_patches(picture(9, 9), 3), "mean"),
        lambda: merge_patches(split_patches(picture(9, 9), 3, stride=4, cover="drop")),
        lambda: merge_patches(split_patches(picture(9, 9), 10, cover="drop")),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(wrong):
    with pytest.raises(ValueError, match="expected"):
        wrong()
