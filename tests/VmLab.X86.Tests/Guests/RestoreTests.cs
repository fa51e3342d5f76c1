using VmLab.Core;

namespace VmLab.X86.Tests.Guests;

/// <summary>A state that no processor can be in is refused, with the rule that it breaks.</summary>
public sealed unsafe class RestoreTests
{
    delegate void Damage(CpuState* s);

    [Test]
    public void State_of_a_processor_is_taken_back()
    {
        using var fixture = new VcpuFixture();
        VcpuState saved = fixture.Cpu.Save();
        fixture.Cpu.SetRegister(Gpr.Rax, 1);
        fixture.Cpu.Restore(saved);
        Assert.That(fixture.Cpu.Register(Gpr.Rax), Is.Zero);
    }

    [TestCaseSource(nameof(Damages))]
    public void State_that_cannot_be_is_refused(string rule)
    {
        using var fixture = new VcpuFixture();
        s_damages[rule](fixture.State);
        VcpuState damaged = fixture.Cpu.Save();

        Assert.That(() => fixture.Cpu.Restore(damaged), Throws.TypeOf<LabException>().With.Message.Contains(rule));
    }

    static IEnumerable<string> Damages => s_damages.Keys;

    static readonly Dictionary<string, Damage> s_damages = new()
    {
        ["CR0 has reserved bits"] = s => s->Cr0 |= 1 << 7,
        ["CR0 has paging on and protection off"] = s => s->Cr0 &= ~Cr0.ProtectionEnable,
        ["CR0 has NW set and CD clear"] = s => s->Cr0 |= Cr0.NotWriteThrough,
        ["CR4 has reserved bits"] = s => s->Cr4 |= 1UL << 40,
        ["EFER has reserved bits"] = s => s->Efer |= 2,
        ["EFER and CR0 disagree about long mode"] = s => s->Efer &= ~Efer.LongModeActive,
        ["long mode is on and CR4.PAE is off"] = s => s->Cr4 &= ~Cr4.PhysicalAddressExtension,
        ["CR4.PCIDE is set outside long mode"] = s =>
        {
            s->Efer &= ~(Efer.LongModeActive | Efer.LongModeEnable);
            s->Cr4 |= Cr4.Pcid;
        },
        ["CR3 has reserved bits"] = s => s->Cr3 |= 1UL << 62,
        ["a directory pointer has reserved bits"] = s =>
        {
            s->Efer &= ~(Efer.LongModeActive | Efer.LongModeEnable);
            s->DirectoryPointers[2] = 7;
        },
        ["XCR0 has reserved bits"] = s => s->Xcr0 = 4,
        ["an address in a system register is not canonical"] = s => s->KernelGsBase = 1UL << 50,
        ["a descriptor table is too long"] = s => s->GdtLimit = 0x1_0000,
        ["the base of a segment is beyond 4 GiB"] = s => s->SegmentBases[Segment.Ss] = 1UL << 32,
        ["what is always zero is not"] = s => s->Zero = 1,
        ["EIP has more than 32 bits"] = s =>
        {
            s->SegmentRights[Segment.Cs] &= unchecked((ushort)~SegmentRights.Long);
            s->Rip = 1UL << 32;
        },
        ["CS is of 64 and of 32 bits"] = s => s->SegmentRights[Segment.Cs] |= SegmentRights.Big,
        ["there is no such privilege level"] = s => s->Cpl = 4,
        ["a model-specific register has reserved bits"] = s => s->SyscallMask = 1UL << 32,
        ["there is no such type of memory"] = s => s->Pat = 2,
        ["RFLAGS has reserved bits"] = s => s->SystemFlags |= Rflags.Virtual8086,
        ["a debug register has reserved bits"] = s => s->Dr[7] = 0,
        ["a debug trap of no known cause is pending"] = s => s->TrapPending = 0x10,
        ["a switch is neither on nor off"] = s => s->IsHalted = 2,
        ["MXCSR has reserved bits"] = s => s->Mxcsr |= 1 << 16,
        ["the control word of the x87 has reserved bits"] = s => s->X87.Control |= 0x8000,
        ["a register of the x87 has more than 80 bits"] = s => s->X87.Registers[3] = new(0, 1 << 16),
    };
}
