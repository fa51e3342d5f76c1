using System.Runtime.CompilerServices;
using VmLab.X86.Floating;

namespace VmLab.X86.Tests.Floating;

/// <summary>What the manual says of the x87's state, on any host.</summary>
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
public sealed class X87StateTests
{
    const ushort Invalid = 0x01, ZeroDivide = 0x04, StackFault = 0x40, ErrorSummary = 0x80, C1 = 0x0200, Busy = 0x8000;

    X87State _state = X87State.Initial;

    [Test]
    public void State_takes_one_hundred_and_sixty_bytes() => Assert.That(Unsafe.SizeOf<X87State>(), Is.EqualTo(160));

    [Test]
    public void Initial_state_is_that_of_FNINIT()
    {
        Assert.That(_state.Control, Is.EqualTo(0x037F));
        Assert.That(_state.Status, Is.Zero);
        Assert.That(_state.Tags, Is.Zero);
    }

    [Test]
    public void Loads_count_down_from_register_seven()
    {
        X87.LoadConstant(ref _state, X87Constant.One);
        X87.LoadConstant(ref _state, X87Constant.Zero);

        Assert.That(_state.Top, Is.EqualTo(6));
        Assert.That(_state.Tags, Is.EqualTo(0b1100_0000));
        Assert.That(_state[1], Is.EqualTo(Float80.One));
        Assert.That(_state.Registers[7].Significand, Is.EqualTo(Float80.One.Significand));
    }

    [Test]
    public void Ninth_load_overflows_the_stack()
    {
        for (int i = 0; i < 9; i++) X87.LoadConstant(ref _state, X87Constant.One);

        Assert.That(_state.Status & (Invalid | StackFault | C1), Is.EqualTo(Invalid | StackFault | C1));
        Assert.That(_state[0], Is.EqualTo(Float80.Indefinite));
        Assert.That(_state.HasPendingException, Is.False);
    }

    [Test]
    public void Unmasked_division_by_zero_is_pending_and_changes_nothing()
    {
        X87.LoadControlWord(ref _state, 0x037F & ~ZeroDivide);
        X87.LoadConstant(ref _state, X87Constant.One);

        X87.Compute(ref _state, X87Operation.Divide, X87Operand.FromInteger(0));

        Assert.That(_state.HasPendingException, Is.True);
        Assert.That(_state.Status & (ZeroDivide | ErrorSummary | Busy), Is.EqualTo(ZeroDivide | ErrorSummary | Busy));
        Assert.That(_state[0], Is.EqualTo(Float80.One));
    }

    [Test]
    public void Flag_becomes_pending_when_its_mask_goes_and_ends_with_it()
    {
        X87.LoadConstant(ref _state, X87Constant.One);
        X87.Compute(ref _state, X87Operation.Divide, X87Operand.FromInteger(0));
        Assert.That(_state.HasPendingException, Is.False);

        X87.LoadControlWord(ref _state, 0x037F & ~ZeroDivide);
        Assert.That(_state.HasPendingException, Is.True);

        X87.ClearExceptions(ref _state);
        Assert.That(_state.HasPendingException, Is.False);
    }

    [Test]
    public void Mmx_registers_are_the_significands_by_their_physical_numbers()
    {
        X87.LoadConstant(ref _state, X87Constant.Pi);
        ulong significand = _state[0].Significand;

        X87.EnterMmx(ref _state);
        X87.WriteMmx(ref _state, 3, 0x0123456789ABCDEF);

        Assert.That(X87.ReadMmx(_state, 7), Is.EqualTo(significand));
        Assert.That(_state[3], Is.EqualTo(new Float80(0x0123456789ABCDEF, 0xFFFF)));
        Assert.That((_state.Top, _state.Tags), Is.EqualTo((0, (byte)0xFF)));
        X87.LeaveMmx(ref _state);
        Assert.That(_state.Tags, Is.Zero);
    }
}
