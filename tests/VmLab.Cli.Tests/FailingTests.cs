using Iced.Intel;
using VmLab.Testing;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.Cli.Tests;

/// <summary>Tests that fail, with what the seed drew.</summary>
[Explicit("They fail.")]
public sealed class FailingTests : LabFixture
{
    static readonly VmRef s_box;

    static readonly Moment s_counting = Moments.Cached("counting",
        Fleet.Define("fails").Seed(3).Vm("box", out s_box, vm => vm.Memory(2.MiB).Boot(Guest.Program(Count))),
        lab => lab.RunFor(20.Microseconds));

    [LabTest(Seeds = 2)]
    public async Task Says_nothing_else_when_its_registers_flip()
    {
        Lab lab = await Fork(s_counting);
        lab.Inject(Fault.Cpu(s_box).FlipRegister(register: 0).Every(1.Microseconds));
        await lab.RunFor(20.Microseconds);
        Assert.That(lab[s_box].Console.Text, Is.EqualTo("nothing like this"));
    }

    [OneTimeTearDown]
    public void Forget() => s_counting.Dispose();

    // Prints the letter that the low bits of RAX are, again and again.
    static void Count(Assembler asm)
    {
        Label again = asm.CreateLabel();
        asm.mov(dx, 0x3F8);
        asm.Label(ref again);
        asm.inc(rax);
        asm.mov(rbx, rax);
        asm.and(al, 0x0F);
        asm.add(al, (byte)'a');
        asm.@out(dx, al);
        asm.mov(rax, rbx);
        asm.jmp(again);
    }
}
