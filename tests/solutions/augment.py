def augment(images, generator):
    height, width = images.shape[2:]
    larger = nn.functional.pad(images, [4, 4, 4, 4], value=-1.0)
    moves = torch.randint(0, 9, (len(images), 2), generator=generator).tolist()
    pairs = zip(larger, moves, strict=True)
    return torch.stack([x[:, i : i + height, j : j + width] for x, (i, j) in pairs])
