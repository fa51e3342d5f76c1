using Iced.Intel;
using VmLab.Core;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>
/// Devices are called at exact counts, with the accesses that the program made. Source: design.md, contract 4.
/// </summary>
public sealed unsafe class DeviceTests : GuestTest, IMmioDevice, IPortDevice
{
    const ulong Page = 0xD000_0000;
    const ushort Port = 0x300;

    readonly List<string> _log = [];

    [SetUp]
    public void Plug()
    {
        _log.Clear();
        Pc.Map(Page, Page, Present | Writable);
        Pc.Map(Page + 0x1000, 0x50_0000, Present | Writable);
        Pc.Bus.Add(Page, 0x1000, this);
        Pc.Ports.Add(Port, 16, this);
        State->Gpr[Gpr.Rbx] = Page;
        State->Gpr[Gpr.Rdx] = Port;
        State->Gpr[Gpr.Rax] = 0x1122_3344_5566_7788;
    }

    [Test]
    public void A_device_sees_the_count_before_its_instruction()
    {
        Pc.Load(code =>
        {
            code.nop();
            code.nop();
            code.mov(eax, __[rbx + 8]);
            code.nop();
            code.@out(dx, al);
            code.@in(ax, dx);
            code.nop();
            code.mov(__[rbx + 0x10], rax);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(_log, Is.EqualTo(new[] { "2: read 8 of 4", "4: out 0 of 1: 0", "5: in 0 of 2",
            "7: write 10 of 8: 5" }));
        Assert.That(Pc.Clock.Now, Is.EqualTo(9));
    }

    [Test]
    public void The_processor_stops_behind_an_access()
    {
        Pc.Load(code =>
        {
            code.nop();
            code.mov(eax, __[rbx]);
            code.nop();
            code.nop();
        });

        StopReason reason = Pc.Cpu.Run(4);

        Assert.That((reason, Pc.Clock.Now), Is.EqualTo((StopReason.Device, 2UL)));
    }

    [Test]
    public void A_read_modify_write_is_a_read_and_a_write()
    {
        Pc.Load(code =>
        {
            code.add(__dword_ptr[rbx], 3);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(_log, Is.EqualTo(new[] { "0: read 0 of 4", "0: write 0 of 4: 3" }));
    }

    [Test]
    public void A_test_only_reads()
    {
        Pc.Load(code =>
        {
            code.test(__byte_ptr[rbx], 3);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(_log, Is.EqualTo(new[] { "0: read 0 of 1" }));
    }

    [Test]
    public void A_plain_store_does_not_read()
    {
        Pc.Load(code =>
        {
            code.mov(__[rbx], al);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(_log, Is.EqualTo(new[] { "0: write 0 of 1: 88" }));
    }

    [Test]
    public void A_repetition_calls_at_each_iteration()
    {
        State->Gpr[Gpr.Rdi] = Page;
        State->Gpr[Gpr.Rcx] = 3;
        Pc.Load(code =>
        {
            code.nop();
            code.rep.stosw();
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(_log, Is.EqualTo(new[] { "1: write 0 of 2: 7788", "2: write 2 of 2: 7788",
            "3: write 4 of 2: 7788" }));
    }

    [Test]
    public void Strings_of_ports_count_by_the_iteration()
    {
        State->Gpr[Gpr.Rdi] = Data;
        State->Gpr[Gpr.Rcx] = 3;
        Pc.Load(code =>
        {
            code.rep.insb();
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(_log, Is.EqualTo(new[] { "0: in 0 of 1", "1: in 0 of 1", "2: in 0 of 1" }));
        Assert.That(Pc.Memory.Read32(Data), Is.EqualTo(0x02_01_00));
    }

    [Test]
    public void A_store_half_in_a_device_is_split_at_the_page()
    {
        Pc.Load(code =>
        {
            code.mov(__[rbx + 0xFFE], eax);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(_log, Is.EqualTo(new[] { "0: write FFE of 2: 7788" }));
        Assert.That(Pc.Memory.Read32(0x50_0000), Is.EqualTo(0x5566));
    }

    [Test]
    public void A_fault_keeps_the_device_out_of_it()
    {
        Pc.Map(Page, Page, Present);
        Pc.Load(code => code.xadd(__[rbx], eax));

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.PageFault));
        Assert.That(_log, Is.Empty);
    }

    [Test]
    public void Nobody_answers_with_ones()
    {
        Pc.Map(0xE000_0000, 0xE000_0000, Present | Writable);
        Pc.Load(code =>
        {
            code.mov(ebx, 0xE000_0000);
            code.mov(rax, __[rbx]);
            code.mov(__[rbx], rax);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(Register(Gpr.Rax), Is.EqualTo(ulong.MaxValue));
        Assert.That(Pc.Bus.UnclaimedAccesses, Is.EqualTo(2));
    }

    // A guest may fetch from a device, or have its stack and its tables there: whatever the device answers, the time is exact.
    [TestCase(1UL)]
    [TestCase(3UL)]
    [TestCase(1000UL)]
    public void Fetches_and_frames_in_a_device_have_their_exact_time(ulong slice)
    {
        Pc.Load(code =>
        {
            code.nop();
            code.nop();
            code.mov(rsp, Page + 0x800);
            code.jmp(rbx);   // the device answers with zeros: ADD [RAX], AL
        });
        State->Gpr[Gpr.Rax] = Data;
        Pc.Memory.Write(HandlerOf(Vector.Nmi), [0x90, 0xF4]);
        while (Pc.Clock.Now < 6) Pc.Cpu.Run(ulong.Min(slice, 6 - Pc.Clock.Now));
        Pc.Cpu.RaiseNmi();
        while (State->IsHalted == 0) Pc.Cpu.Run(slice);

        string[] fetches = [.. _log.Where(line => line.EndsWith("read 0 of 1", StringComparison.Ordinal))];
        string[] frame = [.. _log.Where(line => line.Contains("write"))];
        Assert.That(fetches, Is.EqualTo(new[] { "4: read 0 of 1" }));
        Assert.That(frame, Has.Length.EqualTo(5).And.All.StartsWith("6: "));
    }

    [Test]
    public void A_table_in_a_device_reads_as_ones()
    {
        State->IdtBase = Page;
        Pc.Load(code => code.@int(0x40));

        StopReason reason = Pc.Cpu.Run(10);

        Assert.That(reason, Is.EqualTo(StopReason.Shutdown));
        Assert.That(_log, Is.Empty);
    }

    // Each count is a nanosecond, and the counter reads the time before its instruction.
    [Test]
    public void The_time_stamp_counter_reads_exact_counts()
    {
        Pc.Load(code =>
        {
            code.nop();
            code.rdtsc();
            code.mov(r8d, eax);
            code.nop();
            code.rdtsc();
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That((Register(Gpr.R8), Register(Gpr.Rax)), Is.EqualTo((1UL, 4UL)));
    }

    ulong IMmioDevice.Read(ulong offset, int width)
    {
        Note($"read {offset:X} of {width}");
        return 0;
    }

    void IMmioDevice.Write(ulong offset, int width, ulong value) => Note($"write {offset:X} of {width}: {value:X}");

    uint IPortDevice.Read(int offset, int width)
    {
        Note($"in {offset} of {width}");
        return (uint)Pc.Clock.Now;
    }

    void IPortDevice.Write(int offset, int width, uint value) => Note($"out {offset} of {width}: {value:X}");

    void Note(string what) => _log.Add($"{Pc.Clock.Now}: {what}");
}
