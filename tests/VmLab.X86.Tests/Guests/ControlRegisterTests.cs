using Iced.Intel;
using VmLab.Core;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>
/// What control registers and EFER refuse under a 64-bit system. Source: Intel SDM vol. 2, "MOV to/from Control
/// Registers"; vol. 3A §2.5, §4.1.
/// </summary>
public sealed unsafe class ControlRegisterTests : GuestTest
{
    const ulong Cr0Now = Cr0.ProtectionEnable | Cr0.ExtensionType | Cr0.NumericError | Cr0.WriteProtect | Cr0.Paging;
    const ulong Pae = Cr4.PhysicalAddressExtension;
    const ulong DoNotFlush = 1UL << 63;

    // Vol. 2, MOV: "#GP(0) if an attempt is made to write invalid bit combinations in CR0", or a 1 above bit 31.
    [TestCase(Cr0Now | 1UL << 32)]
    [TestCase(Cr0Now | 1UL << 63)]
    [TestCase(Cr0Now & ~Cr0.ProtectionEnable)]
    [TestCase(Cr0Now | Cr0.NotWriteThrough)]
    [TestCase(Cr0Now & ~Cr0.Paging)]
    public void Cr0_refuses(ulong value) => AssertRefused(cr0, value);

    // Vol. 3A §2.5: reserved bits of the low half are ignored, and ET is always set.
    [Test]
    public void Cr0_ignores_reserved_bits_of_its_low_half()
    {
        Write(cr0, Cr0Now & ~Cr0.ExtensionType | 0x1000_FFC0);

        Assert.That(State->Cr0, Is.EqualTo(Cr0Now));
    }

    // Vol. 3A §4.5, table 4-12: bits of CR3 above the physical address are reserved.
    [TestCase(1UL << 40)]
    [TestCase(1UL << 62)]
    [TestCase(DoNotFlush)]
    public void Cr3_refuses(ulong bits) => AssertRefused(cr3, RootTable | bits);

    // Vol. 2, MOV: with CR4.PCIDE, bit 63 of the source tells what to flush and is not kept.
    [Test]
    public void Cr3_takes_the_no_flush_bit_where_there_are_pcids()
    {
        State->Cr4 |= Cr4.Pcid;
        Pc.Cpu.Refresh();

        Write(cr3, RootTable | DoNotFlush | 7);

        Assert.That(State->Cr3, Is.EqualTo(RootTable | 7));
    }

    // Vol. 2, MOV: "#GP(0) if an attempt is made to write a 1 to any reserved bit in CR4", what CPUID does not
    // announce included; and to leave PAE under IA-32e mode.
    [TestCase(Pae | 1 << 0, Description = "VME")]
    [TestCase(Pae | 1 << 1, Description = "PVI")]
    [TestCase(Pae | 1 << 12, Description = "LA57")]
    [TestCase(Pae | 1 << 13, Description = "VMXE")]
    [TestCase(Pae | 1 << 22, Description = "PKE")]
    [TestCase(Pae | 1 << 23, Description = "CET")]
    [TestCase(Pae | 1UL << 32)]
    [TestCase(0UL, Description = "no PAE")]
    public void Cr4_refuses(ulong value) => AssertRefused(cr4, value);

    [TestCase(Cr4.TimeStampDisable | Cr4.DebugExtensions | Cr4.PageSizeExtensions | Cr4.GlobalPages)]
    [TestCase(Cr4.PerformanceCounters | Cr4.FxSave | Cr4.SimdExceptions | Cr4.UserModeInstructionPrevention)]
    [TestCase(Cr4.MachineCheck | Cr4.FsGsBase | Cr4.Pcid | Cr4.Smep | Cr4.Smap)]
    public void Cr4_takes_what_is_announced(ulong bits)
    {
        Write(cr4, Pae | bits);

        Assert.That(State->Cr4, Is.EqualTo(Pae | bits));
    }

    // Vol. 3A §4.10.1: CR4.PCIDE is set only while CR3 names PCID 0.
    [Test]
    public void Cr4_refuses_pcids_while_cr3_has_low_bits()
    {
        State->Cr3 |= 0x18;
        Pc.Cpu.Refresh();

        AssertRefused(cr4, Pae | Cr4.Pcid);
    }

    // Vol. 2, MOV: CR8 has four bits.
    [Test]
    public void Cr8_refuses_more_than_15() => AssertRefused(cr8, 16);

    [Test]
    public void Other_control_registers_are_undefined()
    {
        Pc.Load(code => code.db([0x0F, 0x20, 0xC8]));   // MOV EAX, CR1

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.InvalidOpcode));
    }

    // Vol. 4, IA32_EFER; vol. 3A §10.8.5: LME stays while paging is on, and LMA is not to be written.
    [TestCase(Efer.SystemCall | Efer.NoExecute)]
    [TestCase(Efer.LongModeEnable | 2)]
    [TestCase(Efer.LongModeEnable | 1 << 12, Description = "SVME")]
    [TestCase(Efer.LongModeEnable | 1 << 14, Description = "FFXSR")]
    public void Efer_refuses(ulong value)
    {
        WriteEfer(value);

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
    }

    [Test]
    public void Efer_keeps_lma()
    {
        WriteEfer(Efer.LongModeEnable);

        Assert.That(State->Efer, Is.EqualTo(Efer.LongModeEnable | Efer.LongModeActive));
    }

    // Vol. 3A §10.8.5.4: compatibility mode may turn paging off, which ends IA-32e mode; not while there are PCIDs.
    [TestCase(0UL, true)]
    [TestCase(Cr4.Pcid, false)]
    public void Compatibility_mode_leaves_long_mode_with_paging(ulong cr4, bool isAllowed)
    {
        State->Cr4 |= cr4;
        (State->SegmentSelectors[Segment.Cs], State->SegmentRights[Segment.Cs]) = (KernelCode32, 0xC09B);
        Pc.Cpu.Refresh();
        Pc.Load(code =>
        {
            code.mov(eax, (uint)(Cr0Now & ~Cr0.Paging));
            code.mov(cr0, eax);
            code.mov(ebx, cr0);
            code.hlt();
        }, bitness: 32);

        Pc.RunToHalt();

        if (!isAllowed) Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
        else Assert.That((State->IsLongMode, Register(Gpr.Rbx)), Is.EqualTo((false, Cr0Now & ~Cr0.Paging)));
    }

    void Write(AssemblerRegisterCR register, ulong value)
    {
        Pc.Load(code =>
        {
            code.mov(rax, value);
            code.mov(register, rax);
            code.hlt();
        });
        Pc.RunToHalt();
    }

    void AssertRefused(AssemblerRegisterCR register, ulong value)
    {
        var before = (State->Cr0, State->Cr3, State->Cr4, Pc.Interrupts.Priority);

        Write(register, value);

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
        Assert.That(Pc.Frame(1)[0], Is.Zero);
        Assert.That((State->Cr0, State->Cr3, State->Cr4, Pc.Interrupts.Priority), Is.EqualTo(before));
    }

    void WriteEfer(ulong value)
    {
        Pc.Load(code =>
        {
            code.mov(ecx, Msr.Efer);
            code.mov(eax, (uint)value);
            code.xor(edx, edx);
            code.wrmsr();
            code.hlt();
        });
        Pc.RunToHalt();
    }
}
