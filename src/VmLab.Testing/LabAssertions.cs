using NUnit.Framework;
using NUnit.Framework.Constraints;

namespace VmLab.Testing;

/// <summary>
/// Assertions that wait in guest time. NUnit's own <c>.After()</c> waits in the host's, in which a lab stands still.
/// </summary>
public static class LabAssertions
{
    extension(Lab lab)
    {
        /// <summary>
        /// Asks at the end of every quantum until the constraint holds; fails as an assertion at the limit.
        /// </summary>
        /// <param name="actual">What to look at, taken anew each time.</param>
        /// <param name="within">Limit in guest time; the lab's own where it is <see langword="null"/>.</param>
        public async Task Eventually<T>(
            Func<T> actual, IResolveConstraint constraint, TimeSpan? within = null, CancellationToken cancellation = default)
        {
            IConstraint resolved = constraint.Resolve();
            TimeSpan start = lab.Now;
            try
            {
                await lab.Until(() => resolved.ApplyTo(actual()).IsSuccess, within, cancellation);
            }
            catch (GuestException)
            {
                T last = actual();
                Assert.That(last, new Settled(resolved), () => $"after {(lab.Now - start).TotalSeconds:0.######} s of guest time");
                throw;
            }
        }
    }

    // NUnit resolves a constraint once; this one is resolved already.
    sealed class Settled(IConstraint constraint) : Constraint
    {
        public override string Description => constraint.Description;

        public override ConstraintResult ApplyTo<TActual>(TActual actual) => constraint.ApplyTo(actual);
    }
}
