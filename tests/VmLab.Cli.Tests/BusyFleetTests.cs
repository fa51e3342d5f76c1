using VmLab.Tests;

namespace VmLab.Cli.Tests;

/// <summary>Four Debian machines under network traffic, disk writes and faults: nothing of the host shows in what comes of it.</summary>
public sealed class BusyFleetTests
{
    string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("vmlab-busy").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void A_busy_fleet_goes_on_in_other_processes_on_1_2_and_4_threads_beside_load_as_in_its_own()
    {
        Outcome whole = Run("whole", threads: 2, rounds: 1);
        using var load = new HostLoad();
        Outcome[] rests = [.. new[] { 1, 2 }.Select(threads => Run("rest", threads, rounds: 1))];
        Outcome withoutHashes = Run("rest", threads: 4, rounds: 1, keepsHashes: false);

        Assert.That(rests[1], Is.EqualTo(rests[0]));
        Assert.That(withoutHashes, Is.EqualTo(rests[0] with { Hashes = "" }));
        Assert.That((rests[0].Printed, rests[0].Capture), Is.EqualTo((whole.Printed, whole.Capture)));
        Assert.That(whole.Hashes, Does.EndWith(rests[0].Hashes));
        Assert.That(rests[0].Hashes, Does.Contain("client"));
        Assert.That(whole.Printed, Does.Contain("10 packets transmitted"));
    }

    [Test, Explicit("Boots twelve Debian kernels, most of them beside host load."), Category("Slow")]
    public void A_busy_fleet_does_the_same_from_its_power_on_on_1_2_and_4_threads_beside_load()
    {
        Outcome first = Run("whole", threads: 1, rounds: 6);
        using var load = new HostLoad();
        Outcome[] others = [.. new[] { 2, 4 }.Select(threads => Run("whole", threads, rounds: 6))];
        Outcome[] rests = [.. new[] { 1, 2, 4 }.Select(threads => Run("rest", threads, rounds: 6))];

        Assert.That(others, Has.All.EqualTo(first));
        Assert.That(rests, Has.All.EqualTo(rests[0]));
        Assert.That((rests[0].Printed, rests[0].Capture), Is.EqualTo((first.Printed, first.Capture)));
        Assert.That(first.Hashes, Does.EndWith(rests[0].Hashes));
    }

    // Always in the same place: its command line is part of a report.
    Outcome Run(string part, int threads, int rounds, bool keepsHashes = true)
    {
        string run = Path.Combine(_folder, "run"), hashes = Path.Combine(run, "hashes.txt");
        Directory.CreateDirectory(run);
        string[] options = keepsHashes ? ["--threads", $"{threads}", "--hashes", hashes] : ["--threads", $"{threads}"];
        Ending ending = Vmlab.Run(["run", "tests/VmLab.Cli.Tests/busy-fleet.csx", .. options,
            "--", part, Path.Combine(_folder, "middle.moment"), run, $"{rounds}"]);
        Assert.That(ending.Code, Is.Zero, ending.Error);
        var outcome = new Outcome(ending.Output, keepsHashes ? File.ReadAllText(hashes) : "",
            Convert.ToHexString(File.ReadAllBytes(Path.Combine(run, "lan.pcap"))), File.ReadAllText(Path.Combine(run, "report.html")));
        Directory.Delete(run, recursive: true);
        return outcome;
    }

    /// <param name="Printed">What the guests' commands printed, guest time, state hash and the network's counters.</param>
    /// <param name="Hashes">A line a machine and 100 ms, where they are kept.</param>
    sealed record Outcome(string Printed, string Hashes, string Capture, string Report);
}
