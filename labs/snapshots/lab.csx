#r "nuget: VmLab, 0.1.0"
#r "nuget: VmLab.Testing, 0.1.0"
using VmLab; using VmLab.Testing; using NUnit.Framework;

var fleet = Fleet.Define("snapshots").Seed(11)
    .Vm("ledger", out var ledger, vm => vm.Boot(Guest.Debian()).Memory(128.MiB));

await Lab.RunAsync(fleet, async lab =>
{
    await lab.Boot();

    // A service that enters a line into a book again and again, and a clean-up that is too thorough.
    await lab[ledger].Shell("""
        mkdir -p /srv
        (i=0; while :; do i=$((i+1)); echo entry $i >>/srv/book; sleep 0.05; done) >/dev/null 2>&1 &
        (sleep 4.2; rm /srv/book) >/dev/null 2>&1 & echo $! >/run/cleanup
        """);
    using var moments = lab.Every(250.Milliseconds).Snapshot(keep: 40);
    await lab.RunFor(8.Seconds);

    var first = await lab[ledger].Shell("head -n 1 /srv/book");
    Assert.That(first, Prints.Containing("entry").And.Not.Matches(Prints.Exactly("entry 1")));
    WriteLine($"the book has lost its beginning: it starts with {first.Output.Trim()}");

    // Look at the moments from a fork of each, the latest first, without disturbing the lab.
    Moment good = null;
    foreach (var moment in moments.Kept.Reverse())
    {
        await using var fork = await lab.Fork(moment);
        if ((await fork[ledger].Shell("head -n 1 /srv/book")).Output != "entry 1\n") continue;
        good = moment;
        break;
    }
    WriteLine($"{moments.Kept.Count} moments were kept; the last good one is of {good.Time.TotalSeconds:0.00} s");

    await lab.Restore(good);                                 // everything as it was: memory, processes, timers
    await lab[ledger].Shell("kill $(cat /run/cleanup)");     // and this time without the mishap
    var before = await lab[ledger].Shell("wc -l </srv/book");
    await lab.RunFor(4.Seconds);
    Assert.That(await lab[ledger].Shell("head -n 1 /srv/book"), Prints.Exactly("entry 1"));
    var after = await lab[ledger].Shell("wc -l </srv/book");
    Assert.That(int.Parse(after.Output), Is.GreaterThan(int.Parse(before.Output)));
    WriteLine($"restored, the book is whole and goes on from {before.Output.Trim()} entries to {after.Output.Trim()}");
    WriteLine($"it is {lab.Now.TotalSeconds:0.0} s; {lab.Elapsed.TotalSeconds:0.0} s of guest time went by in all");
});
