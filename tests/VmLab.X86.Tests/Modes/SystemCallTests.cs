using Iced.Intel;
using VmLab.X86.Tests.Guests;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Modes.ProtectedPc;

namespace VmLab.X86.Tests.Modes;

/// <summary>
/// SYSENTER, SYSEXIT, SYSCALL and SYSRET outside 64-bit mode. Source: Intel SDM vol. 2; AMD APM vol. 3, SYSCALL and SYSRET.
/// </summary>
public sealed unsafe class SystemCallTests : ProtectedTest
{
    const uint There = ProtectedPc.Code + 0x100;
    const ushort KernelCs = 0x40;   // and SS at 0x48, user CS at 0x50, user SS at 0x58: numbers alone, no descriptor is read

    // Vol. 2, SYSENTER, SYSEXIT: stack and target from MSRs and registers; IF cleared, and not given back.
    [Test]
    public void Sysenter_and_sysexit_go_there_and_back()
    {
        State->SysenterCs = KernelCs | 3;   // RPL is no part of it
        (State->SysenterRip, State->SysenterRsp) = (There, 0x2_8000);
        State->SystemFlags = Rflags.Interrupt;
        Pc.Load(code =>
        {
            code.mov(eax, cs);
            code.mov(ebx, ss);
            code.mov(esi, esp);
            code.mov(edx, ProtectedPc.Code + 2);
            code.mov(ecx, 0x2_4000);
            code.sysexit();
        }, There);
        Run(code =>
        {
            code.sysenter();
            code.ud2();
        }, ring: 3);

        Assert.That((Register(Gpr.Rax), Register(Gpr.Rbx), Register(Gpr.Rsi)), Is.EqualTo(((uint)KernelCs, 0x48U, 0x2_8000U)));
        AssertFault(Vector.InvalidOpcode, NoError, ProtectedPc.Code + 2);
        Assert.That((Pc.Frame(5)[1], Pc.Frame(5)[2] & Rflags.Interrupt, Pc.Frame(5)[3], Pc.Frame(5)[4]),
            Is.EqualTo((0x53U, 0UL, 0x2_4000U, 0x5BU)));
    }

    [TestCase(0U, 0, Description = "no selector")]
    [TestCase(3U, 0, Description = "a null selector with RPL")]
    [TestCase(0U, 3)]
    public void Sysenter_without_a_selector_is_refused(uint selector, int ring)
    {
        State->SysenterCs = selector;
        Run(code => code.sysenter(), ring);

        AssertFault(Vector.GeneralProtection, 0);
    }

    [TestCase(0U, 0)]
    [TestCase((uint)KernelCs, 3)]
    public void Sysexit_needs_ring_0_and_a_selector(uint selector, int ring)
    {
        State->SysenterCs = selector;
        Run(code => code.sysexit(), ring);

        AssertFault(Vector.GeneralProtection, 0);
    }

    // AMD APM vol. 3, SYSCALL, legacy mode: target in STAR, no mask, ECX the way back.
    [Test]
    public void Syscall_and_sysret_of_legacy_mode_go_by_star()
    {
        State->Efer = Efer.SystemCall;
        State->Star = 0x53UL << 48 | (ulong)KernelCs << 32 | There;
        State->SystemFlags = Rflags.Interrupt | Rflags.Direction;
        Pc.Load(code =>
        {
            code.mov(ebx, cs);
            code.mov(esi, ecx);
            code.pushfd();
            code.pop(edi);
            code.sysret();
        }, There);
        Run(code =>
        {
            code.syscall();
            code.ud2();
        }, ring: 3);

        Assert.That((Register(Gpr.Rbx), Register(Gpr.Rsi)), Is.EqualTo(((uint)KernelCs, ProtectedPc.Code + 2)));
        Assert.That(Register(Gpr.Rdi) & (Rflags.Interrupt | Rflags.Direction), Is.EqualTo(Rflags.Direction));
        Assert.That((Pc.Frame(5)[0], Pc.Frame(5)[1], Pc.Frame(5)[2] & Rflags.Interrupt, Pc.Frame(5)[4]),
            Is.EqualTo((ProtectedPc.Code + 2, 0x53U, Rflags.Interrupt, 0x5BU)));
    }

    [TestCase(false, 0UL, 3, Vector.InvalidOpcode, NoError)]
    [TestCase(true, 0UL, 0, Vector.InvalidOpcode, NoError)]
    [TestCase(true, Efer.SystemCall, 3, Vector.GeneralProtection, 0)]
    public void Syscall_needs_sce_and_sysret_ring_0(bool isReturn, ulong efer, int ring, int vector, int error)
    {
        State->Efer = efer;
        Run(code =>
        {
            if (isReturn) code.sysret();
            else code.syscall();
        }, ring);

        AssertFault(vector, error);
    }

    // Vol. 2, POPF: what each ring may change, and VIF and VIP cleared; figure 3-8 of vol. 1 for the bits.
    [TestCase(0, 0UL, 0x0024_7FD7U)]
    [TestCase(3, 0UL, 0x0024_4DD7U)]
    [TestCase(3, Rflags.Iopl, 0x0024_7FD7U)]
    public void Popfd_changes_flags_by_privilege(int ring, ulong iopl, uint expected)
    {
        State->SystemFlags = iopl | Rflags.VirtualInterrupt | Rflags.VirtualInterruptPending;
        Run(code =>
        {
            code.push(-1 & ~(int)Rflags.Trap);
            code.popfd();
            code.ud2();
        }, ring);

        Assert.That(Pc.Frame(3)[2] & ~(uint)Rflags.Resume, Is.EqualTo(expected & ~(uint)Rflags.Trap));
    }

    // Vol. 3A §6.15, #UD and #GP: LOCK where it may not be; sixteen bytes.
    [TestCase(new byte[] { 0xF0, 0x8B, 0x00 }, Vector.InvalidOpcode, NoError, Description = "a load")]
    [TestCase(new byte[] { 0xF0, 0x39, 0x00 }, Vector.InvalidOpcode, NoError, Description = "a comparison")]
    [TestCase(new byte[] { 0xF0, 0x01, 0xC8 }, Vector.InvalidOpcode, NoError, Description = "a register")]
    [TestCase(new byte[] { 0xF0, 0x90 }, Vector.InvalidOpcode, NoError)]
    [TestCase(new byte[] { 0xF0, 0x0F, 0xBA, 0x20, 0x01 }, Vector.InvalidOpcode, NoError, Description = "BT")]
    [TestCase(new byte[] { 0xF0, 0xC4, 0x03 }, Vector.InvalidOpcode, NoError, Description = "LES")]
    [TestCase(new byte[] { 0x8E, 0xC8 }, Vector.InvalidOpcode, NoError, Description = "MOV to CS")]
    [TestCase(new byte[] { 0x8E, 0xF0 }, Vector.InvalidOpcode, NoError, Description = "a seventh segment register")]
    [TestCase(new byte[] { 0xC4, 0xC0 }, Vector.InvalidOpcode, NoError, Description = "LES of a register")]
    [TestCase(new byte[] { 0x62, 0xC0 }, Vector.InvalidOpcode, NoError, Description = "BOUND of a register")]
    [TestCase(new byte[] { 0x0F, 0x01, 0xC8 + 0x10 }, Vector.InvalidOpcode, NoError, Description = "SGDT group of registers")]
    [TestCase(new byte[] { 0xFF, 0xE8 }, Vector.InvalidOpcode, NoError, Description = "JMP far of a register")]
    [TestCase(new byte[] { 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90 },
        Vector.GeneralProtection, 0, Description = "sixteen bytes")]
    public void A_form_that_is_not_there_faults(byte[] bytes, int vector, int error)
    {
        State->Gpr[Gpr.Rax] = ProtectedPc.Data;
        Run(code => code.db(bytes));

        AssertFault(vector, error);
    }
}
