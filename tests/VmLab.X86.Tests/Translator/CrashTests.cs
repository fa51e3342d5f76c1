using VmLab.X86.Tests.Guests;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Translator;

/// <summary>Translated code that touches memory the host has not is an error of its machine, and the process goes on.</summary>
public sealed unsafe class CrashTests : GuestTest
{
    const ulong Loop = VcpuFixture.Code + 0x200;

    [Test]
    public void A_crash_names_the_guest_code_and_harms_nobody_else()
    {
        if (!Vcpu.CanTranslate) Assert.Ignore("This host runs no translated code.");
        using var other = new VcpuFixture();
        foreach (VcpuFixture pc in (VcpuFixture[])[Pc, other])
        {
            pc.Cpu.UseTranslator(warmth: 1);
            pc.Load(asm => { asm.mov(rbx, VcpuFixture.Data); asm.jmp(Loop); });
            pc.Load(asm => { asm.inc(__qword_ptr[rbx]); asm.jmp(Loop); }, Loop);
            pc.State->Rip = VcpuFixture.Code;
            pc.Cpu.Run(1000);
        }

        State->Tlb[VcpuFixture.Data >> 12].Page = (byte*)0x10;   // nowhere

        Assert.That(() => Pc.Cpu.Run(1000), Throws.InvalidOperationException.With.Message.Contains($"{Loop:X16}"));
        Assert.That(other.Cpu.Run(1000), Is.EqualTo(StopReason.Budget));
        Assert.That(() => ((string?)null)!.Length, Throws.TypeOf<NullReferenceException>());   // still the runtime's
    }
}
