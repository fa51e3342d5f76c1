#r "nuget: VmLab, 0.1.0"
#r "nuget: VmLab.Testing, 0.1.0"
using VmLab; using VmLab.Testing; using NUnit.Framework;

var fleet = Fleet.Define("crash-consistency").Seed(42)
    .Vm("db", out var db, vm => vm.Boot(Guest.Debian()).Memory(128.MiB).Disk("data", 64.MiB));

await Lab.RunAsync(fleet, async lab =>
{
    await lab.Boot();
    await lab[db].Shell("mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && echo v1 >/mnt/f && sync");
    using Moment mounted = await lab.Snapshot("mounted");                // booted once, then forked for each seed

    foreach (int flush in new[] { 1, 3, 4 })
    {
        await using Lab run = await lab.Fork(mounted, seed: (ulong)flush);
        run.FailOnUnfired = true;
        run.Inject(Fault.Power(db).Cut().When(Trigger.DiskFlush(db, "data").Nth(flush)));   // unflushed writes: lost, torn, reordered

        var write = await run[db].Shell("echo v2 >/mnt/t && sync /mnt/t && mv /mnt/t /mnt/f && sync /mnt; sync");
        Assert.That(write.Outcome, Is.EqualTo(ShellOutcome.PowerLost));
        int unsure = run[db].Disk("data").UnflushedWrites;

        await run[db].PowerCycle();
        var mount = await run[db].Shell("mount /dev/vda /mnt");
        if (!mount.Succeeded)
        {
            Assert.That(run[db].Console.Text, Does.Contain("invalid superblock checksum"));
            WriteLine($"power cut at flush {flush}: ext4's superblock is torn between its two sectors, and the mount refused");
            continue;
        }
        var file = await run[db].Shell("cat /mnt/f");
        Assert.That(file, Prints.Either("v1", "v2"));                   // the old file or the new one, whole
        Assert.That(unsure, Is.Zero, "after the cut, what is on the disk is there for sure");
        WriteLine($"power cut at flush {flush}: the file is {file.Output.Trim()}");
    }
});
