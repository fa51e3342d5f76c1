using Iced.Intel;
using VmLab.Core;
using VmLab.Guests;
using VmLab.Machines;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.Machines.Tests;

public sealed class MachineTests
{
    const ulong Millisecond = 1_000_000;

    readonly FramePool _pool = new(1.GiB);

    [TearDown]
    public void Free() => _pool.Dispose();

    [Test]
    public void A_count_takes_one_nanosecond()
    {
        using Machine machine = Programs.Boot(Programs.Ticker, _pool);

        machine.RunUntil(12_345);

        Assert.That((machine.Now, machine.Retired), Is.EqualTo((12_345UL, 12_345UL)));
    }

    [Test]
    public void The_timer_interrupts_at_its_own_rate()
    {
        using Machine machine = Programs.Boot(Programs.Ticker, _pool);

        machine.RunUntil(1000 * Millisecond);

        Assert.That(machine.Memory.Ram.Read32(Programs.Counter), Is.EqualTo(1000).Within(1));   // 1193182 Hz / 1193
    }

    [Test]
    public void A_halted_machine_costs_only_its_own_wake_ups()
    {
        using Machine machine = Programs.Boot(Programs.Sleeper, _pool);
        int dots = 0;
        machine.Console.Received = _ => dots++;

        machine.RunUntil(3600_000 * Millisecond);

        Assert.That(dots, Is.EqualTo(3600 * 1193182L / 65536).Within(1));
        Assert.That(machine.Retired, Is.LessThan(20UL * (ulong)dots));
    }

    [Test]
    public void The_same_machine_gives_the_same_hashes()
    {
        using Machine first = Programs.Boot(Programs.Ticker, _pool), second = Programs.Boot(Programs.Ticker, _pool);

        Assert.That(Hashes(first), Is.EqualTo(Hashes(second)));
    }

    [Test]
    public void Where_a_run_is_interrupted_shows_nowhere()
    {
        using Machine whole = Programs.Boot(Programs.Ticker, _pool), sliced = Programs.Boot(Programs.Ticker, _pool);
        var slices = Rng.FromSeed(3);

        whole.RunUntil(5 * Millisecond);
        while (sliced.Now < 5 * Millisecond) sliced.RunUntil(Math.Min(sliced.Now + 1 + slices.NextBelow(50), 5 * Millisecond));

        Assert.That(sliced.StateHash(), Is.EqualTo(whole.StateHash()));
    }

    [Test]
    public void One_flipped_bit_changes_the_hash_for_good()
    {
        using Machine whole = Programs.Boot(Programs.Ticker, _pool), flipped = Programs.Boot(Programs.Ticker, _pool);
        flipped.Memory.Ram.Write64(0xF0_0000, 1UL << 17);

        Assert.That(Hashes(flipped).Zip(Hashes(whole), (a, b) => a != b), Has.All.True);
    }

    [Test]
    public void Halted_with_interrupts_off_is_stuck()
    {
        using Machine machine = Programs.Boot(new ProgramGuest(asm => { asm.cli(); asm.hlt(); }), _pool);

        machine.RunUntil(Millisecond);

        Assert.That(machine.Status, Is.EqualTo(MachineStatus.Stuck));
    }

    [Test]
    public void A_triple_fault_ends_the_machine_and_nothing_else()
    {
        using Machine machine = Programs.Boot(new ProgramGuest(asm => asm.ud2()), _pool);   // there is no IDT

        machine.RunUntil(Millisecond);

        Assert.That(machine.Status, Is.EqualTo(MachineStatus.TripleFault));
    }

    [Test]
    public void A_storm_of_unknown_opcodes_takes_its_counts_and_no_more()
    {
        byte[] bytes = new byte[64 << 10];
        var rng = Rng.FromSeed(11);
        for (int i = 0; i < bytes.Length; i++) bytes[i] = (byte)rng.Next();
        using Machine machine = Programs.Boot(new ProgramGuest(bytes), _pool);

        machine.RunUntil(Millisecond);

        Assert.That(machine.Status, Is.Not.EqualTo(MachineStatus.PoweredOff));
    }

    [Test]
    public void Soft_off_switches_off()
    {
        using Machine machine = Programs.Boot(new ProgramGuest(asm =>
        {
            asm.mov(dx, 0x604);
            asm.mov(ax, 0x2000 | 5 << 10);
            asm.@out(dx, ax);
        }), _pool);

        machine.RunUntil(Millisecond);

        Assert.That(machine.Status, Is.EqualTo(MachineStatus.PoweredOff));
    }

    [Test]
    public void The_reset_register_and_the_keyboard_controller_reset()
    {
        using Machine first = Programs.Boot(Writing(0xCF9, 6), _pool), second = Programs.Boot(Writing(0x64, 0xFE), _pool);

        first.RunUntil(Millisecond);
        second.RunUntil(Millisecond);

        Assert.That((first.Status, second.Status), Is.EqualTo((MachineStatus.Reset, MachineStatus.Reset)));
    }

    [Test]
    public void Bytes_sent_to_the_guest_wait_until_its_fifo_has_room()
    {
        using Machine machine = Programs.Boot(Echo, _pool);
        var echoed = new List<byte>();
        machine.Console.Received = echoed.Add;
        byte[] sent = [.. Enumerable.Range(0, 100).Select(i => (byte)i)];

        machine.Console.Send(sent);
        machine.RunUntil(Millisecond);

        Assert.That(echoed, Is.EqualTo(sent));
    }

    static readonly ProgramGuest Echo = new(asm =>
    {
        Label loop = asm.CreateLabel();
        asm.Label(ref loop);
        asm.mov(dx, Programs.Serial + 5);
        asm.@in(al, dx);
        asm.test(al, 1);
        asm.jz(loop);
        asm.mov(dx, Programs.Serial);
        asm.@in(al, dx);
        asm.@out(dx, al);
        asm.jmp(loop);
    });

    static ProgramGuest Writing(ushort port, byte value) => new(asm =>
    {
        asm.mov(dx, port);
        asm.mov(al, value);
        asm.@out(dx, al);
        asm.hlt();
    });

    static List<ulong> Hashes(Machine machine)
    {
        var hashes = new List<ulong>();
        for (ulong time = 1; time <= 10; time++)
        {
            machine.RunUntil(time * Millisecond);
            hashes.Add(machine.StateHash());
        }
        return hashes;
    }
}
