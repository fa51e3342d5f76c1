using Iced.Intel;
using VmLab.Core;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>Breakpoints and watches from outside.</summary>
public sealed unsafe class HookTests : GuestTest
{
    const byte Irq = 0x40;
    const ulong Many = 1000;

    [Test]
    public void A_breakpoint_stops_before_its_instruction_and_takes_no_count()
    {
        ulong second = Pc.Load(code => code.mov(eax, 1));
        Pc.Load(code => code.mov(eax, 2), second);
        Pc.Cpu.AddBreakpoint(second);

        StopReason reason = Pc.Cpu.Run(Many);

        Assert.That((reason, State->Rip, Register(Gpr.Rax)), Is.EqualTo((StopReason.Breakpoint, second, 1UL)));
        Assert.That((Pc.Cpu.Retired, Pc.Clock.Now), Is.EqualTo((1UL, 1UL)));
    }

    [Test]
    public void A_run_goes_on_from_a_breakpoint_and_meets_it_again_the_next_time()
    {
        ulong loop = Pc.Load(code => code.mov(ecx, 3));
        Pc.Load(code =>
        {
            Label again = code.CreateLabel();
            code.Label(ref again);
            code.inc(eax);
            code.dec(ecx);
            code.jnz(again);
            code.hlt();
        }, loop);
        State->Gpr[Gpr.Rax] = 0;
        Pc.Cpu.AddBreakpoint(loop);

        List<(StopReason, ulong)> stops = [];
        for (int i = 0; i < 4; i++) stops.Add((Pc.Cpu.Run(Many), Register(Gpr.Rax)));

        Assert.That(stops, Is.EqualTo(new[]
        {
            (StopReason.Breakpoint, 0UL), (StopReason.Breakpoint, 1UL), (StopReason.Breakpoint, 2UL), (StopReason.Halted, 3UL),
        }));
    }

    // The flags of the first are dead in a block without the stop.
    [Test]
    public void Flags_are_exact_at_a_breakpoint()
    {
        ulong second = Pc.Load(code => code.add(eax, eax));
        Pc.Load(code => code.sub(ecx, ecx), second);
        State->Gpr[Gpr.Rax] = 0x8000_0000;
        State->Gpr[Gpr.Rcx] = 1;
        Pc.Cpu.AddBreakpoint(second);

        Pc.Cpu.Run(Many);

        Assert.That(Pc.Cpu.RflagsValue & Rflags.Arithmetic,
            Is.EqualTo(Rflags.Carry | Rflags.Zero | Rflags.Parity | Rflags.Overflow));
    }

    [Test]
    public void A_breakpoint_is_at_a_linear_address_whatever_page_lies_there()
    {
        const ulong Alias = 0x4000_0000;
        Pc.Map(Alias, VcpuFixture.Code, Present | Writable);
        ulong end = Pc.Load(code =>
        {
            code.nop();
            code.nop();
        });
        Pc.Load(code => code.jmp(rax), end);
        State->Gpr[Gpr.Rax] = Alias + 1;
        Pc.Cpu.AddBreakpoint(Alias + 1);

        StopReason reason = Pc.Cpu.Run(Many);

        Assert.That((reason, State->Rip, Pc.Cpu.Retired), Is.EqualTo((StopReason.Breakpoint, Alias + 1, 3UL)));
    }

    [Test]
    public void A_removed_breakpoint_stops_nothing()
    {
        Pc.Load(code =>
        {
            code.nop();
            code.hlt();
        });
        Pc.Cpu.AddBreakpoint(VcpuFixture.Code + 1);
        Pc.Cpu.RemoveBreakpoint(VcpuFixture.Code + 1);

        Assert.That(Pc.Cpu.Run(Many), Is.EqualTo(StopReason.Halted));
    }

    [Test]
    public void Two_breakpoints_at_one_address_are_removed_one_by_one()
    {
        Pc.Load(code =>
        {
            code.nop();
            code.hlt();
        });
        Pc.Cpu.AddBreakpoint(VcpuFixture.Code + 1);
        Pc.Cpu.AddBreakpoint(VcpuFixture.Code + 1);
        Pc.Cpu.RemoveBreakpoint(VcpuFixture.Code + 1);

        Assert.That(Pc.Cpu.Run(Many), Is.EqualTo(StopReason.Breakpoint));
    }

    [Test]
    public void A_breakpoint_on_a_repetition_is_met_once_however_the_run_is_cut([Values(1UL, 7UL, Many)] ulong slice)
    {
        Pc.Load(code =>
        {
            code.rep.stosb();
            code.hlt();
        });
        State->Gpr[Gpr.Rdi] = Data;
        State->Gpr[Gpr.Rcx] = 50;
        Pc.Cpu.AddBreakpoint(VcpuFixture.Code);

        List<StopReason> stops = [];
        do stops.Add(Pc.Cpu.Run(slice));
        while (stops[^1] != StopReason.Halted);

        Assert.That(stops.Count(stop => stop == StopReason.Breakpoint), Is.EqualTo(1));
    }

    [Test]
    public void A_breakpoint_in_a_crossing_instruction_is_met()
    {
        ulong at = VcpuFixture.Code + 0x1000 - 2;
        Pc.Load(code => code.mov(eax, 0x12345678), at);
        State->Rip = at;
        Pc.Cpu.Refresh();
        Pc.Cpu.AddBreakpoint(at);

        Assert.That((Pc.Cpu.Run(Many), State->Rip), Is.EqualTo((StopReason.Breakpoint, at)));
        Assert.That((Pc.Cpu.Run(1), Register(Gpr.Rax)), Is.EqualTo((StopReason.Budget, 0x12345678UL)));
    }

    // The STI shadow, which the breakpoint's instruction stands in, survives the stop.
    [Test]
    public void A_breakpoint_does_not_let_an_interrupt_into_a_shadow()
    {
        Pc.Load(code =>
        {
            code.sti();
            code.nop();
            code.nop();
        });
        Pc.Cpu.AddBreakpoint(VcpuFixture.Code + 1);
        Pc.Interrupts.Pending.Enqueue(Irq);
        Pc.Cpu.Run(Many);

        Pc.RunToHalt();

        Assert.That(Pc.Frame(1)[0], Is.EqualTo(VcpuFixture.Code + 2));
    }

    [TestCase(MemoryAccess.Write, 1)]
    [TestCase(MemoryAccess.Read, 0)]
    public void A_watch_stops_behind_the_instruction_that_touches_its_bytes(MemoryAccess access, int index)
    {
        ulong second = Pc.Load(code => code.mov(rax, __[Data + 0x100]));
        ulong third = Pc.Load(code => code.mov(__[Data + 0x100], rbx), second);
        Pc.Load(code => code.hlt(), third);
        var watch = new Watch(Data + 0x107, 1, access, IsPhysical: false);
        Pc.Cpu.AddWatch(watch);

        StopReason reason = Pc.Cpu.Run(Many);

        ulong[] at = [VcpuFixture.Code, second, third];
        Assert.That((reason, State->Rip), Is.EqualTo((StopReason.Watch, at[index + 1])));
        Assert.That(Pc.Cpu.WatchHits, Is.EqualTo(new[] { new WatchHit(watch, Data + 0x100, 8, access, at[index]) }));
    }

    [Test]
    public void A_watch_leaves_the_other_bytes_of_its_page_alone()
    {
        Pc.Load(code =>
        {
            code.mov(__[Data + 0x100], rbx);
            code.mov(__[Data + 0x109], rbx);
            code.hlt();
        });
        Pc.Cpu.AddWatch(new Watch(Data + 0x108, 1, MemoryAccess.Any, IsPhysical: false));

        Assert.That(Pc.Cpu.Run(Many), Is.EqualTo(StopReason.Halted));
    }

    [Test]
    public void A_physical_watch_sees_every_mapping()
    {
        const ulong Alias = 0x4000_0000;
        Pc.Map(Alias, Data, Present | Writable);
        Pc.Load(code => code.mov(__dword_ptr[rax + 8], 1));
        State->Gpr[Gpr.Rax] = Alias;
        Pc.Cpu.AddWatch(new Watch(Data + 8, 4, MemoryAccess.Write, IsPhysical: true));

        Assert.That(Pc.Cpu.Run(Many), Is.EqualTo(StopReason.Watch));
        Assert.That(Pc.Cpu.WatchHits[0].Linear, Is.EqualTo(Alias + 8));
    }

    [Test]
    public void A_watch_sees_the_far_part_of_an_access_that_crosses_pages()
    {
        Pc.Load(code => code.mov(__[Data + 0xFFC], rax));
        Pc.Cpu.AddWatch(new Watch(Data + 0x1002, 1, MemoryAccess.Write, IsPhysical: true));

        Assert.That(Pc.Cpu.Run(Many), Is.EqualTo(StopReason.Watch));
    }

    [Test]
    public void A_watch_stops_a_bulk_copy_behind_the_iteration_that_touches_its_bytes([Values] bool isSource)
    {
        Pc.Load(code =>
        {
            code.rep.movsb();
            code.hlt();
        });
        State->Gpr[Gpr.Rsi] = Data;
        State->Gpr[Gpr.Rdi] = Data + 0x2000;
        State->Gpr[Gpr.Rcx] = 200;
        ulong at = isSource ? Data + 99 : Data + 0x2000 + 99;
        Pc.Cpu.AddWatch(new Watch(at, 1, isSource ? MemoryAccess.Read : MemoryAccess.Write, IsPhysical: false));

        StopReason reason = Pc.Cpu.Run(Many);

        Assert.That((reason, Register(Gpr.Rcx), State->Rip), Is.EqualTo((StopReason.Watch, 100UL, VcpuFixture.Code)));
        Assert.That(Pc.Cpu.Run(Many), Is.EqualTo(StopReason.Halted));
    }

    [Test]
    public void A_watch_sees_the_frame_of_an_exception()
    {
        Pc.Load(code => code.ud2());
        Pc.Cpu.AddWatch(new Watch(StackTop - 8, 8, MemoryAccess.Write, IsPhysical: false));

        StopReason reason = Pc.Cpu.Run(Many);

        Assert.That((reason, State->Rip), Is.EqualTo((StopReason.Watch, HandlerOf(Vector.InvalidOpcode))));
        Assert.That(Pc.Cpu.WatchHits[0].Rip, Is.EqualTo(VcpuFixture.Code));
    }

    [Test]
    public void A_watch_does_not_see_an_access_of_an_instruction_that_faults()
    {
        const ulong Absent = 0x5000_0000;
        Pc.Load(code => code.push(__qword_ptr[Data]));
        State->Gpr[Gpr.Rsp] = Absent;
        Pc.SetGate(Vector.PageFault, HandlerOf(Vector.PageFault), stack: 1);
        Pc.Cpu.AddWatch(new Watch(Data, 8, MemoryAccess.Read, IsPhysical: false));

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.PageFault));
    }
}
