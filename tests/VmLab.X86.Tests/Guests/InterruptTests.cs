using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>
/// Interrupts, NMIs, shadows, halts and single steps, at exact counts. Source: Intel SDM vol. 3A chapters 6 and 17.
/// </summary>
public sealed unsafe class InterruptTests : GuestTest
{
    const byte Irq = 0x40;

    [Test]
    public void An_interrupt_is_taken_before_the_next_instruction()
    {
        Pc.Load(code =>
        {
            for (int i = 0; i < 20; i++) code.nop();
        });
        State->SystemFlags |= Rflags.Interrupt;
        Pc.Cpu.Run(5);
        Pc.Interrupts.Pending.Enqueue(Irq);

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Irq));
        Assert.That(Pc.Frame(1)[0], Is.EqualTo(VcpuFixture.Code + 5));
        Assert.That(Pc.Clock.Now, Is.EqualTo(5 + 1 + 1), "five instructions, the delivery, the HLT");
    }

    [Test]
    public void An_interrupt_waits_while_if_is_clear()
    {
        Pc.Interrupts.Pending.Enqueue(Irq);
        Pc.Load(code =>
        {
            code.nop();
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(State->Rip, Is.EqualTo(VcpuFixture.Code + 2));
    }

    // Vol. 2, STI: the instruction behind it is done first; §6.8.3: so is the one behind a load of SS. Any slicing
    // gives the same.
    [TestCase("sti", 1UL, 2)]
    [TestCase("sti", 2UL, 2)]
    [TestCase("sti", 100UL, 2)]
    [TestCase("sti twice", 1UL, 2)]
    [TestCase("sti twice", 100UL, 2)]
    [TestCase("mov ss", 1UL, 3)]
    [TestCase("mov ss", 2UL, 3)]
    [TestCase("mov ss", 100UL, 3)]
    [TestCase("popf", 1UL, 1)]
    [TestCase("popf", 100UL, 1)]
    public void A_shadow_lasts_one_instruction(string name, ulong slice, int behind)
    {
        Pc.Load(code =>
        {
            if (name == "popf") code.popfq();
            if (name is "sti" or "sti twice") code.sti();
            if (name == "sti twice") code.sti();
            if (name == "mov ss") code.mov(ss, eax);
            for (int i = 0; i < 10; i++) code.nop();
        });
        State->Gpr[Gpr.Rax] = KernelData;
        State->Gpr[Gpr.Rsp] -= 8;
        Pc.Memory.Write64(StackTop - 8, Rflags.Interrupt);
        if (name == "mov ss") State->SystemFlags |= Rflags.Interrupt;
        Pc.Interrupts.Pending.Enqueue(Irq);
        if (name == "mov ss") Pc.Interrupts.Pending.Clear();
        if (name == "mov ss") Pc.Cpu.Run(1);
        if (name == "mov ss") Pc.Interrupts.Pending.Enqueue(Irq);

        while (State->IsHalted == 0) Pc.Cpu.Run(slice);

        Assert.That(Pc.HaltedVector, Is.EqualTo(Irq));
        Assert.That(Pc.Frame(1)[0] - VcpuFixture.Code, Is.EqualTo((ulong)behind));
    }

    [Test]
    public void Sti_and_cli_let_nothing_in()
    {
        Pc.Interrupts.Pending.Enqueue(Irq);
        Pc.Load(code =>
        {
            code.sti();
            code.cli();
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(State->Rip, Is.EqualTo(VcpuFixture.Code + 3));
    }

    // The idiom of every idle loop: no interrupt can come between the two.
    [Test]
    public void Sti_and_hlt_wake_behind_the_hlt()
    {
        Pc.Interrupts.Pending.Enqueue(Irq);
        Pc.Load(code =>
        {
            code.sti();
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Irq));
        Assert.That(Pc.Frame(1)[0], Is.EqualTo(VcpuFixture.Code + 2));
    }

    [Test]
    public void A_halted_processor_uses_no_counts_until_it_is_woken()
    {
        State->SystemFlags |= Rflags.Interrupt;
        Pc.Load(code => code.hlt());
        Pc.RunToHalt();
        ulong halted = Pc.Clock.Now;

        StopReason again = Pc.Cpu.Run(1000);
        ulong still = Pc.Clock.Now;
        Pc.Interrupts.Pending.Enqueue(Irq);
        Pc.RunToHalt();

        Assert.That((again, halted, still), Is.EqualTo((StopReason.Halted, 1UL, 1UL)));
        Assert.That(Pc.HaltedVector, Is.EqualTo(Irq));
        Assert.That(Pc.Clock.Now, Is.EqualTo(3));
    }

    // §6.7.1: another NMI waits for IRET.
    [Test]
    public void An_nmi_waits_for_the_iret_of_the_last()
    {
        Label handler = default;
        Pc.Load(code =>
        {
            code.nop();
            code.hlt();
        });
        ulong entry = VcpuFixture.Code + 0x800;
        Pc.Load(code =>
        {
            handler = code.CreateLabel();
            code.inc(r9);
            code.nop();
            code.nop();
            code.iretq();
        }, entry);
        Pc.SetGate(Vector.Nmi, entry);
        Pc.Cpu.RaiseNmi();
        Pc.Cpu.Run(2);
        Pc.Cpu.RaiseNmi();
        Pc.Cpu.Run(2);
        ulong nested = State->Gpr[9];

        Pc.RunToHalt();

        Assert.That(nested, Is.EqualTo(1));
        Assert.That(State->Gpr[9], Is.EqualTo(2));
        Assert.That(State->Rip, Is.EqualTo(VcpuFixture.Code + 2));
    }

    [Test]
    public void An_nmi_goes_before_an_interrupt_and_cares_not_for_if()
    {
        Pc.Load(code => code.nop());
        Pc.Interrupts.Pending.Enqueue(Irq);
        Pc.Cpu.RaiseNmi();

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.Nmi));
    }

    // §6.9, table 6-2: of what is pending at an instruction, the machine check comes first.
    [Test]
    public void A_machine_check_goes_before_an_nmi_and_cares_not_for_if()
    {
        Pc.Load(code => code.nop());
        State->Cr4 |= Cr4.MachineCheck;
        Pc.Cpu.RaiseNmi();

        Assert.That(Pc.Cpu.TryRaiseMachineCheck(), Is.True);
        Pc.Cpu.Run(1);

        Assert.That((Pc.Cpu.LastDelivery, State->NmiPending), Is.EqualTo((Vector.MachineCheck, 1)));
    }

    [Test]
    public void A_machine_check_that_cr4_does_not_ask_for_is_not_taken()
    {
        Pc.Load(code => code.hlt());

        Assert.That(Pc.Cpu.TryRaiseMachineCheck(), Is.False);
        Pc.RunToHalt();

        Assert.That((State->Rip, State->MachineCheckPending), Is.EqualTo((VcpuFixture.Code + 1, 0)));
    }

    // §17.3.1.4: a trap behind each instruction that begins with TF set; the handler runs without.
    [Test]
    public void Single_steps_trap_behind_each_instruction()
    {
        ulong entry = VcpuFixture.Code + 0x800;
        Pc.Load(code =>
        {
            code.push(0x102);
            code.popfq();           // sets TF: no trap yet
            code.nop();             // trap behind
            code.mov(ecx, 2);       // trap behind
            code.xor(eax, eax);     // trap behind
            code.push(2);           // trap behind
            code.popfq();           // clears TF, trap behind
            code.nop();
            code.hlt();
        });
        Pc.Load(code =>
        {
            code.mov(rax, __[rsp]);
            code.mov(__[r8], rax);
            code.add(r8, 8);
            code.iretq();
        }, entry);
        Pc.SetGate(Vector.Debug, entry);
        State->Gpr[Gpr.R8] = Data;

        Pc.RunToHalt();

        ulong[] steps = [.. Enumerable.Range(0, 6).Select(i => Pc.Memory.Read64(Data + 8 * (ulong)i))];
        ulong start = VcpuFixture.Code + 6;   // behind push and popf
        Assert.That(steps, Is.EqualTo(new[] { start + 1, start + 6, start + 8, start + 10, start + 11, 0UL }));
        Assert.That(State->Dr[6] & 1 << 14, Is.Not.Zero, "DR6.BS");
    }

    // §17.3.1.4 and §18.3 of vol. 1: each iteration of a repetition traps, with RIP still on it.
    [Test]
    public void Single_steps_trap_in_a_repetition()
    {
        ulong entry = VcpuFixture.Code + 0x800;
        Pc.Load(code =>
        {
            code.rep.stosb();
            code.hlt();
        });
        Pc.Load(code =>
        {
            code.inc(r9);
            code.iretq();
        }, entry);
        Pc.SetGate(Vector.Debug, entry);
        State->SystemFlags |= Rflags.Trap;
        State->Gpr[Gpr.Rdi] = Data;
        State->Gpr[Gpr.Rcx] = 5;
        State->Gpr[9] = 0;

        Pc.Cpu.Run(5 * 4);   // an iteration, the delivery, and the two instructions of the handler

        Assert.That((State->Gpr[9], Register(Gpr.Rcx), State->Rip), Is.EqualTo((5UL, 0UL, VcpuFixture.Code + 2)));
    }

    // §6.8.3: a debug trap, too, is held back by a load of SS, and lost there.
    [Test]
    public void A_load_of_ss_holds_the_single_step_back()
    {
        Pc.Load(code =>
        {
            code.mov(ss, eax);
            code.nop();
            code.nop();
        });
        State->Gpr[Gpr.Rax] = KernelData;
        State->SystemFlags |= Rflags.Trap;

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.Debug));
        Assert.That(Pc.Frame(1)[0], Is.EqualTo(VcpuFixture.Code + 3));
    }

    [Test]
    public void A_single_step_of_hlt_goes_to_the_handler()
    {
        ulong entry = VcpuFixture.Code + 0x800;
        Pc.Load(code => code.hlt());
        Pc.Load(code =>
        {
            code.mov(r9d, 1);
            code.hlt();
        }, entry);
        Pc.SetGate(Vector.Debug, entry);
        State->SystemFlags |= Rflags.Trap;

        Pc.RunToHalt();

        Assert.That(State->Gpr[9], Is.EqualTo(1));
        Assert.That(Pc.Frame(1)[0], Is.EqualTo(VcpuFixture.Code + 1));
    }

    // §6.8.1 and 17.3.1.4: INT n clears TF for the handler, and does not trap itself.
    [Test]
    public void A_single_step_of_an_interrupt_instruction_does_not_trap_in_the_handler()
    {
        Pc.Load(code => code.@int(0x90));
        State->SystemFlags |= Rflags.Trap;

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(0x90));
        Assert.That(Pc.Frame(3)[2] & Rflags.Trap, Is.EqualTo(Rflags.Trap));
    }

    // §6.6 and vol. 2, REP: an interrupt between iterations finds RIP on the instruction and RCX, RSI, RDI exact.
    [Test]
    public void An_interrupt_in_a_repetition_leaves_it_to_be_taken_up()
    {
        Pc.Load(code =>
        {
            code.rep.stosb();
            code.hlt();
        });
        Pc.Load(code => code.iretq(), HandlerOf(Irq));
        State->SystemFlags |= Rflags.Interrupt;
        State->Gpr[Gpr.Rax] = 0xAB;
        State->Gpr[Gpr.Rdi] = Data;
        State->Gpr[Gpr.Rcx] = 100;
        Pc.Cpu.Run(37);
        Pc.Interrupts.Pending.Enqueue(Irq);
        Pc.Cpu.Run(1);
        ulong rip = Pc.Frame(1)[0];
        var midway = (rip, Register(Gpr.Rcx), Register(Gpr.Rdi));

        Pc.RunToHalt();

        Assert.That(midway, Is.EqualTo((VcpuFixture.Code, 63UL, Data + 37)));
        Assert.That((Register(Gpr.Rcx), Register(Gpr.Rdi)), Is.EqualTo((0UL, Data + 100)));
        Assert.That(Pc.Clock.Now, Is.EqualTo(100 + 1 + 1 + 1), "iterations, delivery, IRET, HLT");
    }
}
