// Each test gets memory fresh from the constructor of its fixture.
[assembly: FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
