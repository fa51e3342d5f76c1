namespace VmLab.X86.Tests.Guests;

/// <summary>A test that runs a small program on a processor of its own.</summary>
public abstract unsafe class GuestTest
{
    protected VcpuFixture Pc { get; private set; } = null!;

    protected CpuState* State => Pc.State;

    [SetUp]
    public void PowerOn() => Pc = new VcpuFixture();

    [TearDown]
    public void PowerOff() => Pc.Dispose();

    /// <summary>Register by number.</summary>
    protected ulong Register(int number) => State->Gpr[number];
}
