/** The coordinator, as the command line and embedders use it. */

export { type Coordinator, type CoordinatorOptions, createCoordinator } from './coordinator.js'
