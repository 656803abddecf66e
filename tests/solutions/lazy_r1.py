def lazy_r1(every, gamma):
    calls = itertools.count()

    def update(*game):
        if next(calls) % every == 0:
            return r1_update(*game, gamma=every * gamma)
        return classic_update(*game)

    return update
