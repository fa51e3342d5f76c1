namespace VmLab.X86.Tests.Fuzz;

/// <summary>
/// Whatever a guest is, in whatever mode and under whatever tables: the host lives, budgets are kept, the state stays
/// valid, and the same guest cut in pieces, or translated, is the same run.
/// </summary>
public sealed unsafe class HostileFuzzTests
{
    const int QuickGuests = 400, SlowGuests = 5_000;
    const ulong Counts = 3000, CountsBetweenLooks = 300;

    [Test]
    public void A_hostile_guest_harms_only_itself() => Run(1, QuickGuests);

    [Test, Explicit("Many guests."), Category("Slow")]
    public void A_hostile_guest_harms_only_itself_at_length() => Run(1_000_000, SlowGuests);

    static void Run(int firstSeed, int guests)
    {
        for (int seed = firstSeed; seed < firstSeed + guests; seed++)
        {
            using var whole = new HostileMachine(seed);
            using var sliced = new HostileMachine(seed);
            using var translated = new HostileMachine(seed, translates: true);
            Random slices = new(seed), translatedSlices = new(seed + 1);
            bool runs = true;
            for (ulong time = CountsBetweenLooks; runs && time <= Counts; time += CountsBetweenLooks)
            {
                runs = whole.RunTo(time, null);
                Assert.That(sliced.RunTo(time, slices), Is.EqualTo(runs), $"guest {seed} at {time}");
                if (sliced.Hash() != whole.Hash())
                    Assert.Fail($"guest {seed} at {time}, in one go: {whole.Describe()}\nin slices: {sliced.Describe()}");
                Assert.That(translated.RunTo(time, translatedSlices), Is.EqualTo(runs), $"guest {seed} at {time}, translated");
                if (translated.Hash() != whole.Hash())
                    Assert.Fail($"guest {seed} at {time}, interpreted: {whole.Describe()}\ntranslated: {translated.Describe()}");
                Assert.That(CpuRules.Broken(whole.State), Is.Null, $"guest {seed} at {time}");
                Assert.That(whole.State->Cpl, Is.EqualTo(whole.State->SegmentSelectors[Segment.Cs] & 3), $"CPL of guest {seed} at {time}");
            }
        }
    }
}
