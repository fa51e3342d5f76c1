namespace VmLab.Labs.Behaviour;

/// <summary>ext4 on a disk with a volatile write cache, and power that goes: each seed loses other writes.</summary>
public sealed class CrashConsistency : LabFixture
{
    static readonly VmRef s_db;

    static readonly Moment s_mounted = Moments.Cached("mounted",
        Fleet.Define("ext4").Seed(42).Vm("db", out s_db, vm => vm.Boot(Guest.Debian()).Memory(128.MiB).Disk("data", 64.MiB)),
        async lab =>
        {
            await lab.Boot();
            Assert.That(await lab[s_db].Shell("mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && echo v1 >/mnt/f && sync"), Exits.With(0));
        });

    [LabTest]
    public async Task What_was_synced_outlives_a_power_cut_and_what_was_not_is_lost()
    {
        Lab lab = await Fork(s_mounted);
        await lab[s_db].Shell("seq 1 50000 >/mnt/synced && sync /mnt/synced && sync /mnt; seq 1 50000 >/mnt/unsynced");

        await lab[s_db].PowerCycle();

        Assert.That(await lab[s_db].Shell("mount /dev/vda /mnt && seq 1 50000 | cmp - /mnt/synced"), Exits.With(0));
        Assert.That(await lab[s_db].Shell("test -s /mnt/unsynced"), Exits.With(1));
        Assert.That(await lab[s_db].Shell("umount /mnt && e2fsck -fn /dev/vda"), Exits.With(0));
    }

    [LabTest(Seeds = 20), Explicit("Boots Debian twenty times."), Category("Slow")]
    public async Task A_file_that_is_replaced_is_the_old_one_or_the_new_one_after_a_power_cut()
    {
        Lab lab = await Fork(s_mounted);
        int flush = 1 + (int)(lab.Seed % 4);
        lab.Inject(Fault.Power(s_db).Cut().When(Trigger.DiskFlush(s_db, "data").Nth(flush)));   // unflushed writes are lost, torn, reordered
        ShellResult write = await lab[s_db].Shell("echo v2 >/mnt/t && sync /mnt/t && mv /mnt/t /mnt/f && sync /mnt");
        Assert.That(write.Outcome, Is.EqualTo(ShellOutcome.PowerLost));

        await lab[s_db].PowerCycle();                                                            // back when its shell is

        // The kernel refuses a superblock that was torn between its two sectors, and e2fsck takes one of its copies.
        await lab[s_db].Shell("mount /dev/vda /mnt || { e2fsck -fy /dev/vda; mount /dev/vda /mnt; }");
        Assert.That(await lab[s_db].Shell("cat /mnt/f"), Prints.Either("v1", "v2"));
    }
}
