// Each test gets devices fresh from the constructor of its fixture.
[assembly: FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
