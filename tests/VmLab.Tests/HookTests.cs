using Iced.Intel;
using VmLab.Core;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.Tests;

/// <summary>Breakpoints, watches and steps of a script: the machine stops exactly there, and its run stays the same.</summary>
public sealed class HookTests
{
    const ulong Program = 0x10_0000, Loop = Program + 2, LoopEnd = Program + 4, Cell = 0x20_0000;

    /// <summary>Counts in ECX and in memory for ever: XOR, INC, MOV, JMP.</summary>
    static void Count(Assembler asm)
    {
        Label loop = asm.CreateLabel();
        asm.xor(ecx, ecx);
        asm.Label(ref loop);
        asm.inc(ecx);
        asm.mov(__dword_ptr[Cell], ecx);
        asm.jmp(loop);
    }

    [Test]
    public void An_awaited_breakpoint_stops_the_machine_exactly_there() => Run(async (lab, a, b) =>
    {
        BreakpointHit hit = await a.Cpu.BreakAt(LoopEnd).Hit();

        Assert.That((hit.Address, a.Cpu.Rip, a.Cpu.Rcx, a.Retired), Is.EqualTo((LoopEnd, LoopEnd, 1UL, 2UL)));
        Assert.That((b.Retired, lab.Now), Is.EqualTo(((ulong)Fleet.Quantum.TotalNanoseconds, Fleet.Quantum)), "the others are at the quantum's end");
    });

    [Test]
    public void A_breakpoint_is_awaited_again_and_again() => Run(async (lab, a, b) =>
    {
        Hook<BreakpointHit> breakpoint = a.Cpu.BreakAt(LoopEnd);
        List<ulong> seen = [];
        for (int i = 0; i < 3; i++)
        {
            await breakpoint.Hit();
            seen.Add(a.Cpu.Rcx);
        }

        Assert.That(seen, Is.EqualTo(new ulong[] { 1, 2, 3 }));
        Assert.That((breakpoint.Hits, lab.Now), Is.EqualTo((3, Fleet.Quantum)));
    });

    [Test]
    public void A_breakpoint_that_nobody_awaits_counts() => Run(async (lab, a, b) =>
    {
        Hook<BreakpointHit> breakpoint = a.Cpu.BreakAt(Loop);
        await lab.RunFor(3.Microseconds);

        Assert.That((breakpoint.Hits, a.Retired), Is.EqualTo((1000, 3000UL)));
    });

    [Test]
    public void A_breakpoint_calls_the_script_each_time() => Run(async (lab, a, b) =>
    {
        List<ulong> seen = [];
        a.Cpu.BreakAt(Loop, cpu => seen.Add(cpu.Rcx));
        await lab.RunFor(3.Microseconds);

        Assert.That(seen, Is.EqualTo(Enumerable.Range(0, 1000)));
    });

    [Test]
    public void What_a_called_script_throws_ends_what_it_awaits() => Run(async (lab, a, b) =>
    {
        a.Cpu.BreakAt(Loop, cpu => throw new ArithmeticException("no"));

        await Assert.ThatAsync(() => lab.RunFor(1.Milliseconds), Throws.TypeOf<ArithmeticException>());
    });

    [Test]
    public void A_breakpoint_that_is_not_met_reaches_its_limit() => Run(async (lab, a, b) =>
        await Assert.ThatAsync(() => a.Cpu.BreakAt(0x1234).Hit(within: 1.Milliseconds),
            Throws.TypeOf<LimitReachedException>().With.Message.Contains("a did not come to 0x1234 within 0.001 s")));

    [Test]
    public void A_disposed_breakpoint_cannot_be_awaited() => Run(async (lab, a, b) =>
    {
        Hook<BreakpointHit> breakpoint = a.Cpu.BreakAt(Loop);
        breakpoint.Dispose();
        await lab.RunFor(1.Milliseconds);

        Assert.That(breakpoint.Hits, Is.Zero);
        await Assert.ThatAsync(() => breakpoint.Hit(), Throws.TypeOf<LabException>());
    });

    [Test]
    public void A_breakpoint_outlives_a_reset() => Run(async (lab, a, b) =>
    {
        Hook<BreakpointHit> breakpoint = a.Cpu.BreakAt(Program);
        await lab.RunFor(1.Milliseconds);
        a.Reset();
        await lab.RunFor(1.Milliseconds);

        Assert.That(breakpoint.Hits, Is.EqualTo(2));
    });

    [Test]
    public void A_watch_stops_the_machine_behind_the_store([Values] bool isLinear) => Run(async (lab, a, b) =>
    {
        VmMemory memory = isLinear ? a.Memory.Linear : a.Memory;
        MemoryHit hit = await memory.Watch(Cell, 4).Hit();

        Assert.That((hit.Address, hit.Length, hit.Access, hit.Rip), Is.EqualTo((Cell, 4, MemoryAccess.Write, LoopEnd)));
        Assert.That((a.Memory.Read32(Cell), a.Retired), Is.EqualTo((1U, 3UL)));
    });

    [Test]
    public void A_step_takes_one_count_more() => Run(async (lab, a, b) =>
    {
        List<ulong> seen = [];
        for (int i = 0; i < 5; i++)
        {
            await a.Cpu.Step();
            seen.Add(a.Cpu.Rip - Program);
        }
        await a.Cpu.Step(1000);

        Assert.That(seen, Is.EqualTo(new ulong[] { 2, 4, 11, 2, 4 }));
        Assert.That((a.Retired, lab.Now), Is.EqualTo((1005UL, Fleet.Quantum)));
    });

    [Test]
    public void Two_machines_stop_in_one_quantum_each_at_its_own_instant() => Run(async (lab, a, b) =>
    {
        Task<BreakpointHit> first = a.Cpu.BreakAt(LoopEnd).Hit(), second = b.Cpu.BreakAt(Loop).Hit();
        await Task.WhenAll(first, second);

        Assert.That((a.Cpu.Rip, b.Cpu.Rip), Is.EqualTo((LoopEnd, Loop)));
    });

    [Test]
    public void Hooks_do_not_change_the_run()
    {
        var plain = Record((a, b) => { });

        var hooked = Record((a, b) =>
        {
            a.Cpu.BreakAt(Loop, cpu => { });
            b.Cpu.BreakAt(LoopEnd);
            b.Memory.Watch(Cell, 2, MemoryAccess.Any, hit => { });
        });

        Assert.That(hooked, Is.EqualTo(plain));
    }

    [Test]
    public void A_restored_machine_meets_its_breakpoints_again() => Run(async (lab, a, b) =>
    {
        await lab.RunFor(1.Microseconds);
        Moment start = await lab.Snapshot("start");
        Hook<BreakpointHit> breakpoint = a.Cpu.BreakAt(LoopEnd);
        await breakpoint.Hit();
        ulong first = a.Cpu.Rcx;
        await Assert.ThatAsync(() => lab.Snapshot("inside"), Throws.TypeOf<LabException>());

        await lab.Restore(start);
        await breakpoint.Hit();

        Assert.That(a.Cpu.Rcx, Is.EqualTo(first));
    });

    [Test]
    public void Linear_memory_that_is_not_mapped_is_told() => Run((lab, a, b) =>
    {
        Assert.That(() => a.Memory.Linear.Read64(0xFFFF_8000_0000_0000),
            Throws.TypeOf<LabException>().With.Message.Contains("0xffff800000000000"));
        return Task.CompletedTask;
    });

    [Test]
    public void The_processor_shows_its_registers() => Run(async (lab, a, b) =>
    {
        await lab.RunFor(1.Microseconds);

        Assert.That((a.Cpu.PrivilegeLevel, a.Cpu.Cs.Limit, a.Cpu.Cr0 & 0x8000_0001, a.Cpu.Dr(7), a.Cpu.Xmm(15), a.Cpu.Mxcsr),
            Is.EqualTo((0, uint.MaxValue, 0x8000_0001UL, 0x400UL, UInt128.Zero, 0x1F80U)));
        Assert.That(a.Cpu.ToString(), Does.Contain("rcx 000000000000014d").And.Contain("rip 0000000000100002"));
    });

    // A quarter of a second of the boot: the kernel unpacked, page tables built, interrupts on.
    [Test]
    public void Hooks_do_not_change_the_boot_of_a_Debian_kernel()
    {
        string plain = Boot(vm => { });

        string hooked = Boot(vm =>
        {
            vm.Cpu.BreakAt("do_one_initcall");
            vm.Cpu.BreakAt("schedule");
            vm.Memory.Linear.Watch(vm.Linux.Symbol("jiffies"), 8, MemoryAccess.Any);
        });

        Assert.That(hooked, Is.EqualTo(plain));
    }

    static string Boot(Action<Vm> hook)
    {
        string record = "";
        Pump.Run(async () =>
        {
            await using Lab lab = await Lab.StartAsync(
                Fleet.Define("hooks").Seed(5).Vm("a", vm => vm.Boot(Guest.Debian()).Memory(128.MiB)));
            await lab.RunFor(100.Milliseconds);
            hook(lab["a"]);
            await lab.RunFor(150.Milliseconds);
            record = $"{lab["a"].Retired} {lab.StateHash():x16} {lab["a"].Console.Text}";
        });
        return record;
    }

    static (ulong Hash, ulong A, ulong B) Record(Action<Vm, Vm> hook)
    {
        (ulong, ulong, ulong) record = default;
        Run(async (lab, a, b) =>
        {
            hook(a, b);
            await lab.RunFor(250.Microseconds);
            record = (lab.StateHash(), a.Retired, b.Retired);
        });
        return record;
    }

    static void Run(Func<Lab, Vm, Vm, Task> script) => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(Fleet.Define("hooks")
            .Vm("a", vm => vm.Boot(Guest.Program(Count)).Memory(4.MiB))
            .Vm("b", vm => vm.Boot(Guest.Program(Count)).Memory(4.MiB)));
        await script(lab, lab["a"], lab["b"]);
    });
}
