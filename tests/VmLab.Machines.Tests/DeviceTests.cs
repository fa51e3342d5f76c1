using Iced.Intel;
using VmLab.Core;
using VmLab.Guests;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.Machines.Tests;

/// <summary>The devices that a configuration adds: found on the bus, part of moments, hashes and power-ons.</summary>
public sealed class DeviceTests
{
    const ulong Millisecond = 1_000_000;

    const ulong Ring = 0x30_0000, Request = 0x31_0000, Data = 0x32_0000;

    /// <summary>
    /// Drives the disk in slot 3 without interrupts: sector 0 is written with an eightfold counter, again and again, and
    /// flushed every fourth time.
    /// </summary>
    static readonly ProgramGuest s_writer = new(asm =>
    {
        const ulong Bar = 0xC000_0000, Descriptors = Ring, Driver = Ring + 0x1000, Device = Ring + 0x2000, Status = Request + 16;
        Label again = asm.CreateLabel(), wait = asm.CreateLabel();
        Out(asm, 0xCF8, 0x8000_1804);                     // device 3: decode memory, be bus master
        Out(asm, 0xCFC, 6);
        Store(asm, Bar + 0x14, 3, 1);
        Store(asm, Bar + 0x08, 0, 4);
        Store(asm, Bar + 0x0C, 0x200, 4);                 // flush
        Store(asm, Bar + 0x08, 1, 4);
        Store(asm, Bar + 0x0C, 1, 4);                     // version 1
        Store(asm, Bar + 0x14, 11, 1);
        Store(asm, Bar + 0x18, 4, 2);
        Store(asm, Bar + 0x20, Descriptors, 8);
        Store(asm, Bar + 0x28, Driver, 8);
        Store(asm, Bar + 0x30, Device, 8);
        Store(asm, Bar + 0x1C, 1, 2);
        Store(asm, Bar + 0x14, 15, 1);
        PutDescriptor(asm, Descriptors, Request, 16, flags: 1, next: 1);
        PutDescriptor(asm, Descriptors + 16, Data, 512, flags: 1, next: 2);
        PutDescriptor(asm, Descriptors + 32, Status, 1, flags: 2, next: 0);
        asm.xor(ecx, ecx);
        asm.Label(ref again);
        asm.inc(ecx);
        asm.mov(__dword_ptr[Data], ecx);
        asm.mov(__dword_ptr[Data + 4], ecx);
        asm.mov(eax, 1);
        asm.test(ecx, 3);
        asm.mov(edx, 4);
        asm.cmove(eax, edx);
        asm.mov(__dword_ptr[Request], eax);
        asm.mov(__word_ptr[Driver + 2], cx);
        Store(asm, Bar + 0x3000, 0, 2);
        asm.Label(ref wait);
        asm.cmp(__word_ptr[Device + 2], cx);
        asm.jne(wait);
        asm.jmp(again);
    });

    readonly FramePool _pool = new(1.GiB);

    [TearDown]
    public void Free() => _pool.Dispose();

    [Test]
    public void A_machine_goes_on_from_a_moment_with_its_disks()
    {
        using Machine machine = Boot(s_writer);
        machine.RunUntil(Millisecond);
        using MachineMoment moment = machine.Snapshot();
        machine.RunUntil(2 * Millisecond);
        ulong hash = machine.StateHash();
        using Machine fork = new(machine.Config, _pool, moment);
        machine.Restore(moment);

        fork.RunUntil(2 * Millisecond);
        machine.RunUntil(2 * Millisecond);

        Assert.That((machine.StateHash(), fork.StateHash()), Is.EqualTo((hash, hash)));
        Assert.That(machine.Virtio[0].Transport.Malformed, Is.Zero);
        Assert.That(FirstWord(machine), Is.GreaterThan(20));
    }

    [Test]
    public void A_disk_is_part_of_the_hash()
    {
        using Machine empty = Boot(Programs.Sleeper), other = Boot(Programs.Sleeper);
        Assert.That(other.StateHash(), Is.EqualTo(empty.StateHash()));
        other.Drive("data").Write(0, new byte[512]);
        Assert.That(other.StateHash(), Is.Not.EqualTo(empty.StateHash()));
    }

    [Test]
    public void A_disk_holds_at_the_next_power_on_what_the_last_one_left()
    {
        using Machine machine = Boot(s_writer);
        machine.RunUntil(Millisecond);
        machine.PowerOff();
        uint left = FirstWord(machine);

        using Machine next = new(machine.Config with { Devices = machine.Devices }, _pool);

        Assert.That(left, Is.Not.Zero);
        Assert.That((FirstWord(next), next.Drive("data").UnflushedWrites), Is.EqualTo((left, 0)));
    }

    [Test]
    public void Too_many_devices_are_refused() => Assert.That(
        () => new Machine(Config(Programs.Sleeper) with { Devices = [.. Enumerable.Repeat(new EntropySpec(), 30)] }, _pool),
        Throws.TypeOf<LabException>().With.Message.Contains("29"));

    [Test]
    public void Two_disks_of_one_name_are_refused() => Assert.That(
        () => new Machine(Config(Programs.Sleeper) with { Devices = [new DiskSpec("a", 1.MiB), new DiskSpec("a", 1.MiB)] }, _pool),
        Throws.TypeOf<LabException>().With.Message.Contains("\"a\""));

    static MachineConfig Config(IBootable guest) => new("m", 16.MiB, guest, Seed: 1)
    {
        Devices = [new DiskSpec("data", 1.MiB), new NicSpec(new MacAddress(0x5254_0000_0001)), new EntropySpec(), new BalloonSpec()],
    };

    Machine Boot(IBootable guest) => new(Config(guest), _pool);

    static uint FirstWord(Machine machine)
    {
        byte[] sector = new byte[512];
        machine.Drive("data").Read(0, sector);
        return BitConverter.ToUInt32(sector);
    }

    static void Out(Assembler asm, ushort port, uint value)
    {
        asm.mov(dx, port);
        asm.mov(eax, value);
        asm.@out(dx, eax);
    }

    static void Store(Assembler asm, ulong address, ulong value, int width)
    {
        asm.mov(rdi, address);
        asm.mov(rax, value);
        if (width == 1) asm.mov(__byte_ptr[rdi], al);
        else if (width == 2) asm.mov(__word_ptr[rdi], ax);
        else if (width == 4) asm.mov(__dword_ptr[rdi], eax);
        else asm.mov(__qword_ptr[rdi], rax);
    }

    static void PutDescriptor(Assembler asm, ulong at, ulong address, uint length, ushort flags, ushort next)
    {
        Store(asm, at, address, 8);
        Store(asm, at + 8, length | (ulong)flags << 32 | (ulong)next << 48, 8);
    }
}
