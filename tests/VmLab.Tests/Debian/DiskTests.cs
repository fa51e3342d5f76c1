using VmLab.Testing;

namespace VmLab.Tests.Debian;

/// <summary>A virtio disk as Debian's own driver and ext4 see it.</summary>
public sealed class DiskTests
{
    [Test]
    public void A_file_on_ext4_outlives_a_power_cycle_once_synced_and_a_disk_is_part_of_a_moment() => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(Fleet.Define("disk").Seed(5).Vm("db", vm => vm
            .Boot(Guest.Debian()).Memory(128.MiB).Disk("data", 64.MiB)));
        Vm db = lab["db"];
        await lab.Boot();
        Assert.That(await db.Shell("cat /sys/block/vda/serial /sys/block/vda/size"), Prints.Exactly("data131072"));
        Assert.That(await db.Shell("mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && echo kept >/mnt/f && sync"), Exits.With(0));
        Moment synced = await lab.Snapshot("synced");
        ulong hash = db.StateHash;
        Assert.That(await db.Shell("echo lost >/mnt/f && sync && cat /mnt/f"), Prints.Exactly("lost"));

        await lab.Restore(synced);
        Assert.That(db.StateHash, Is.EqualTo(hash));
        await db.PowerCycle();

        Assert.That(await db.Shell("mount /dev/vda /mnt && cat /mnt/f"), Prints.Exactly("kept"));
    });
}
