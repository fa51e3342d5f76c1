using VmLab.Devices.Storage;
using VmLab.Faults;
using VmLab.Machines;
using VmLab.Testing;

namespace VmLab.Tests.Debian;

/// <summary>Faults of a disk, and of power, as Debian's ext4 sees them; all labs are grown from one boot.</summary>
public sealed class DiskFaultTests
{
    const string Update = "echo v2 >/mnt/t && sync /mnt/t && mv /mnt/t /mnt/f && sync /mnt";

    static readonly Fleet s_fleet = Fleet.Define("ext4").Seed(42)
        .Vm("db", out s_db, vm => vm.Boot(Guest.Debian()).Memory(128.MiB).Disk("data", 64.MiB));

    static readonly VmRef s_db;

    static Moment? s_mounted;

    [Test]
    public void A_power_cut_at_the_third_flush_leaves_the_old_file_or_the_new_one_and_what_was_synced() => Run(async lab =>
    {
        await lab[s_db].Shell("seq 1 50000 >/mnt/big && sync");
        lab.Inject(Fault.Power(s_db).Cut().When(Trigger.DiskFlush(s_db, "data").Nth(3)));
        ShellResult write = await lab[s_db].Shell(Update);
        Assert.That((write.Outcome, lab.Timeline[^1].What), Is.EqualTo((ShellOutcome.PowerLost, "powered off")));

        await lab[s_db].PowerCycle();

        Assert.That(await lab[s_db].Shell("mount /dev/vda /mnt && cat /mnt/f"), Prints.Either("v1", "v2"));
        Assert.That(await lab[s_db].Shell("seq 1 50000 | cmp - /mnt/big"), Exits.With(0));
    });

    [Test]
    public void A_power_cut_strikes_at_the_same_instant_on_every_run() => Run(async lab =>
    {
        await using Lab other = await lab.Fork();
        var ends = new List<(TimeSpan, ulong)>();
        foreach (Lab one in new[] { lab, other })
        {
            one.Inject(Fault.Power(s_db).Cut().When(Trigger.DiskWrite(s_db, "data").Nth(2)));
            await one[s_db].Shell(Update);
            ends.Add((one[s_db].Now, one.StateHash()));
        }
        Assert.That(ends[1], Is.EqualTo(ends[0]));
        Assert.That(ends[0].Item1.TotalMilliseconds % 10, Is.Not.Zero, "inside a quantum");
    });

    [Test]
    public void Reads_that_fail_are_input_output_errors() => Run(async lab =>
    {
        lab.Inject(Fault.Disk(s_db, "data").Error(DiskOperations.Reads, new SectorRange(100_000, 8)).For(10.Seconds));

        ShellResult bad = await lab[s_db].Shell("dd if=/dev/vda of=/dev/null bs=4096 skip=12500 count=1");
        ShellResult good = await lab[s_db].Shell("dd if=/dev/vda of=/dev/null bs=4096 skip=12600 count=1");
        await lab.RunFor(10.Seconds);
        ShellResult later = await lab[s_db].Shell("dd if=/dev/vda of=/dev/null bs=4096 skip=12500 count=1");

        Assert.That((bad.Succeeded, bad.Error.Contains("Input/output error"), good.Succeeded, later.Succeeded), Is.EqualTo((false, true, true, true)));
        string[] happened = [.. lab.Timeline.Select(entry => entry.What)];
        Assert.That(happened, Does.Contain("fault: disk data: reads of sectors 100000 to 100007 fail")
            .And.Contains("fault: disk data: read of sectors 100000 to 100007 fails").And.Contains("fault: disk data: error is over"));
    });

    [Test]
    public void A_journal_that_cannot_be_written_makes_ext4_read_only() => Run(async lab =>
    {
        lab.Inject(Fault.Disk(s_db, "data").Error(DiskOperations.Writes | DiskOperations.Flushes));

        await lab[s_db].Shell("echo lost >/mnt/lost; sync");

        Assert.That(await lab[s_db].Shell("touch /mnt/other"), Exits.With(1));
        Assert.That(lab[s_db].Console.Text + (await lab[s_db].Shell("dmesg")).Output, Does.Contain("I/O error"));
    });

    [Test]
    public void A_slow_disk_takes_guest_time() => Run(async lab =>
    {
        lab.Inject(Fault.Disk(s_db, "data").Latency(2.Seconds));
        TimeSpan before = lab.Now;

        await lab[s_db].Shell("dd if=/dev/vda of=/dev/null bs=4096 skip=12500 count=1 iflag=direct");

        Assert.That(lab.Now - before, Is.InRange(2.Seconds, 5.Seconds));
    });

    [Test]
    public void A_disk_that_hangs_goes_on_and_one_that_is_unplugged_does_not() => Run(async lab =>
    {
        const string Read = "dd if=/dev/vda of=/dev/null bs=4096 skip=12500 count=1 iflag=direct";
        lab.Inject(Fault.Device(s_db, "data").Hang().For(3.Seconds));
        TimeSpan before = lab.Now;
        Assert.That(await lab[s_db].Shell(Read), Exits.With(0));
        Assert.That(lab.Now - before, Is.InRange(3.Seconds, 4.Seconds));

        lab.Inject(Fault.Device(s_db, "data").Unplug());
        Assert.That((await lab[s_db].Shell(Read, within: 5.Seconds)).Outcome, Is.EqualTo(ShellOutcome.TimedOut));
    });

    [Test]
    public void A_disk_whose_interrupt_is_lost_waits_for_the_next_one_and_bears_a_storm() => Run(async lab =>
    {
        const string Read = "dd if=/dev/vda of=/dev/null bs=4096 skip=12500 count=1 iflag=direct";
        lab.Inject(Fault.Device(s_db, "data").DropInterrupts());
        Assert.That((await lab[s_db].Shell(Read, within: 5.Seconds)).Outcome, Is.EqualTo(ShellOutcome.TimedOut));

        lab.Inject(Fault.Device(s_db, "data").Storm(100.Microseconds).For(1.Seconds));
        await lab.RunFor(1.Seconds);
        Assert.That(await lab[s_db].Shell(Read), Exits.With(0));
        Assert.That(await lab[s_db].Shell("awk '/virtio0-req/ { print ($2 > 5000) }' /proc/interrupts"), Prints.Exactly("1"));
    });

    [Test]
    public void A_write_that_is_dropped_is_found_missing_by_a_reader_of_the_disk() => Run(async lab =>
    {
        const string Write = "yes new | dd of=/dev/vda bs=4096 seek=12500 count=1 iflag=fullblock conv=fsync";
        const string Read = "echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda bs=4096 skip=12500 count=1 | head -c 3";
        lab.Inject(Fault.Disk(s_db, "data").Dropped(new SectorRange(100_000, 8)));

        Assert.That(await lab[s_db].Shell(Write), Exits.With(0));
        Assert.That(await lab[s_db].Shell(Read), Is.Not.Matches(Prints.Containing("new")));
    });

    [Test]
    public void Rot_of_the_superblock_is_noticed_at_the_next_mount() => Run(async lab =>
    {
        await lab[s_db].Shell("umount /mnt");
        lab.Inject(Fault.Disk(s_db, "data").Rotten(new SectorRange(2, 1)));

        Assert.That(await lab[s_db].Shell("echo 3 >/proc/sys/vm/drop_caches; mount /dev/vda /mnt"), Is.Not.Matches(Exits.With(0)));
    });

    [Test]
    public void A_kernels_function_is_a_trigger() => Run(async lab =>
    {
        lab.Inject(Fault.Power(s_db).Cut().When(Trigger.Symbol(s_db, "do_exit")));
        ulong address = lab[s_db].Linux.Symbol("do_exit");

        ShellResult result = await lab[s_db].Shell("/bin/true");

        Assert.That((result.Outcome, lab[s_db].Cpu.Rip), Is.EqualTo((ShellOutcome.PowerLost, address)));
    });

    [Test]
    public void A_full_disk_stays_full_over_a_power_cycle_and_a_kernels_function_is_found_anew() => Run(async lab =>
    {
        const string Fill = "dd if=/dev/zero of=/dev/vda bs=4096 seek=12500 count=1 conv=fsync";
        lab.Inject(Fault.Disk(s_db, "data").Full());
        lab.Inject(Fault.Power(s_db).Cut().When(Trigger.Symbol(s_db, "__x64_sys_sync")));
        Assert.That(await lab[s_db].Shell(Fill), Is.Not.Matches(Exits.With(0)));

        await lab[s_db].PowerCycle();

        Assert.That(await lab[s_db].Shell(Fill), Is.Not.Matches(Exits.With(0)));
        ShellResult sync = await lab[s_db].Shell("sync");
        Assert.That((sync.Outcome, lab[s_db].Cpu.Rip), Is.EqualTo((ShellOutcome.PowerLost, (ulong)lab[s_db].Linux.Symbol("__x64_sys_sync"))));
    });

    static void Run(Func<Lab, Task> script) => Pump.Run(async () =>
    {
        if (s_mounted is null)
        {
            await using Lab lab = await Lab.StartAsync(s_fleet);
            await lab.Boot();
            Assert.That(await lab[s_db].Shell(
                "mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && echo v1 >/mnt/f && sync"), Exits.With(0));
            s_mounted = await lab.Snapshot("mounted");
        }
        await using Lab fork = await Lab.StartAsync(s_mounted);
        await script(fork);
    });
}
