using Iced.Intel;
using VmLab.X86.Tests.Guests;

namespace VmLab.X86.Tests.Modes;

/// <summary>A test that runs a small program in 32-bit protected mode.</summary>
public abstract unsafe class ProtectedTest
{
    protected const int NoError = -1;

    protected ProtectedPc Pc { get; private set; } = null!;

    protected CpuState* State => Pc.State;

    [SetUp]
    public void PowerOn() => Pc = new ProtectedPc();

    [TearDown]
    public void PowerOff() => Pc.Dispose();

    protected uint Register(int number) => (uint)State->Gpr[number];

    /// <summary>Runs a program of one ring until it halts.</summary>
    protected void Run(Action<Assembler> write, int ring = 0)
    {
        Pc.Load(write);
        Pc.Enter(ring);
        Pc.RunToHalt();
    }

    /// <summary>A fault of the instruction at an address was served in ring 0.</summary>
    protected void AssertFault(int vector, int error, uint eip = ProtectedPc.Code)
    {
        Assert.That(Pc.HaltedVector, Is.EqualTo(vector), "vector");
        uint[] frame = Pc.Frame(2);
        if (error != NoError) Assert.That(frame[0], Is.EqualTo((uint)error), "error code");
        Assert.That(frame[error == NoError ? 0 : 1], Is.EqualTo(eip), "EIP");
    }
}
