def complete(G, images, seen):
    starts = sample_noise(1000, G.latent_dim, seed=0)
    gaps = (draw(G, starts) - images[:, None]) * seen  # (N, 1000, 1, 28, 28)
    best = gaps.square().flatten(2).sum(2).argmin(1)
    z = starts[best].requires_grad_()
    optimizer = torch.optim.Adam([z], 0.05)
    for _ in range(200):
        loss = ((G(z) - images) * seen).square().sum()
        z.grad = torch.autograd.grad(loss, z)[0]
        optimizer.step()
    return draw(G, z)
