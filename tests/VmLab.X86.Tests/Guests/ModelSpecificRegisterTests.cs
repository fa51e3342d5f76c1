using VmLab.Core;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Guests;

/// <summary>
/// Model-specific registers: reserved bits, values that are none, registers that are not there. Source: Intel SDM vol.
/// 2, WRMSR and RDMSR; vol. 4.
/// </summary>
public sealed unsafe class ModelSpecificRegisterTests : GuestTest
{
    const ulong NotCanonical = 0x8000_0000_0000, BeyondAddress = 1UL << 40;

    // Vol. 4, table 2-2: by register.
    [TestCase(Msr.Cstar, NotCanonical)]
    [TestCase(Msr.FsBase, NotCanonical)]
    [TestCase(Msr.KernelGsBase, NotCanonical)]
    [TestCase(Msr.SysenterRsp, NotCanonical)]
    [TestCase(Msr.SysenterRip, NotCanonical)]
    [TestCase(Msr.SyscallMask, 1UL << 32)]
    [TestCase(Msr.MiscEnable, 1UL << 34, Description = "XD disable")]
    [TestCase(Msr.DebugControl, 4UL)]
    // Vol. 3A §12.12.2: the types of the PAT; 2, 3 and above 7 are reserved.
    [TestCase(Msr.Pat, 0x0300_0000_0000_0000UL)]
    [TestCase(Msr.Pat, 0x0008_0000UL)]
    // Vol. 3A §12.11.2: the types of MTRRs; 2, 3 and above 6 are reserved, as are bits 8 and 9 of the default type,
    // 8 to 11 of a base, 0 to 10 of a mask, and address bits that are not there.
    [TestCase(Msr.MtrrCapabilities, 0x508UL)]
    [TestCase(Msr.MtrrDefault, 0xC02UL)]
    [TestCase(Msr.MtrrDefault, 0xC07UL)]
    [TestCase(Msr.MtrrDefault, 0x106UL)]
    [TestCase(Msr.MtrrDefault, 0x1006UL)]
    [TestCase(Msr.MtrrVariableFirst, 7UL)]
    [TestCase(Msr.MtrrVariableFirst, 0x806UL)]
    [TestCase(Msr.MtrrVariableFirst, BeyondAddress)]
    [TestCase(Msr.MtrrVariableFirst + 1, 0x400UL)]
    [TestCase(Msr.MtrrVariableLast, BeyondAddress | 0x800)]
    [TestCase(Msr.MtrrVariableLast + 1, 0UL)]
    [TestCase(Msr.MtrrFix64K, 0x0600_0000_0000_0007UL)]
    [TestCase(Msr.MtrrFix4KLast, 0x0000_0002_0000_0000UL)]
    public void Refuses(uint index, ulong value)
    {
        Write(index, value);

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
        Assert.That(Pc.Frame(1)[0], Is.Zero);
    }

    [TestCase(Msr.Cstar, 0xFFFF_8000_0000_0000UL)]
    [TestCase(Msr.SysenterCs, 0x10UL)]
    [TestCase(Msr.SysenterRip, 0xFFFF_8000_0000_1234UL)]
    [TestCase(Msr.MiscEnable, 0UL)]
    [TestCase(Msr.DebugControl, 3UL)]
    [TestCase(Msr.Pat, 0x0001_0405_0607_0406UL)]
    [TestCase(Msr.MtrrDefault, 0xC06UL)]
    [TestCase(Msr.MtrrVariableFirst, 0xFF_C000_0005UL)]
    [TestCase(Msr.MtrrVariableLast, 0xFF_8000_0800UL)]
    [TestCase(Msr.MtrrFix64K, 0x0606_0606_0504_0100UL)]
    [TestCase(Msr.MtrrFix4KLast, 0x0505_0505_0505_0505UL)]
    public void Keeps(uint index, ulong value)
    {
        Write(index, value);

        Assert.That(Register(Gpr.Rdx) << 32 | Register(Gpr.Rax), Is.EqualTo(value));
    }

    // What CPUID does not announce is not there: VMX, TSC_ADJUST, machine checks, protection keys of the supervisor.
    [TestCase(0x3AU)]
    [TestCase(0x3BU)]
    [TestCase(0x179U)]
    [TestCase(0x6E1U)]
    [TestCase(0xC000_0105U)]
    public void Unknown_registers_are_not_read(uint index)
    {
        Pc.Load(code =>
        {
            code.mov(ecx, index);
            code.rdmsr();
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
    }

    void Write(uint index, ulong value)
    {
        Pc.Load(code =>
        {
            code.mov(ecx, index);
            code.mov(eax, (uint)value);
            code.mov(edx, (uint)(value >> 32));
            code.wrmsr();
            code.xor(eax, eax);
            code.xor(edx, edx);
            code.rdmsr();
            code.hlt();
        });
        Pc.RunToHalt();
    }
}
